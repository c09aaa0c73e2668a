"""A study of one's own nets, from the command line to its results."""

import json

import pytest

from toolkit.launch import main as launch
from toolkit.launching.selection import find_nets
from toolkit.study import Study
from toolkit.train import train
from toolkit.training.trainer import Trainer

SOURCE = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes, width=8):
        super().__init__(nn.Conv2d(3, width, 3, 2), nn.BatchNorm2d(width), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(width, num_classes))
"""
SIZES = ["epochs=1", "batch=16", "lr=0.01"]


@pytest.fixture
def call(tmp_path, data, monkeypatch, capsys):
    """A launch in a folder with a source of one's own, on a study there; returns its JSON document."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")  # torch is imported, so its threads would spin
    (tmp_path / "mynets.py").write_text(SOURCE)
    where = ["--dataset", "stripes", "--data", str(data), "--study", str(tmp_path / "study"), "--recipe", "smoke"]

    def run(*arguments):
        capsys.readouterr()
        launch([*where, "--set", *SIZES, "--executor", "debug", "--json", *arguments])
        return json.loads(capsys.readouterr().out)

    return run


def test_a_task_trains_the_text_it_was_declared_with(call, tmp_path, data):
    (tmp_path / "mine.toml").write_text(
        'models = ["anynetx-500/3"]\n[variants.b]\nmodel = "./mynets.py:Net"\nwidth = 4'
    )
    call("--population", "mine.toml", "--array", "1", "--models", "./mynets.py:Net?width=6", "--pack", "2")
    study = Study.open(tmp_path / "study")
    params = {task.architecture: study.result(i).params for i, task in study.tasks().items()}
    variant, own = sorted(params, key=params.get)
    assert (params[variant], params[own]) == (4 * 30 + 4 * 5, 6 * 30 + 4 * 7) and variant.endswith("/b")
    (tmp_path / "mynets.py").write_text(SOURCE.replace("3, 2)", "5, 2)"))
    names, _ = find_nets(None, "anynetx-500", [own], study.texts())
    [task] = [task for task in study.tasks().values() if task.architecture == own]
    again = task.model_validate({**task.model_dump(), "architecture": names[0], "seed": 1})
    study.declare([again])
    train(study, [again.id], data=data, workers=1)  # by its frozen name: the text that was kept
    assert study.result(again.id).params == params[own]
    [path] = study.room("nets").glob("*.py")
    path.unlink()
    study.result_path(again.id).unlink()
    assert train(study, [again.id], data=data, workers=1).failed == [again.id]
    assert "launch it again with the file it came from" in study.result(again.id).failure.message


def test_a_net_that_keeps_a_part_still_while_it_learns_is_told_so_before_its_first_batch(call, tmp_path, monkeypatch):
    """Many published nets keep the statistics of batch norms by what they make of ``train()``."""
    still = """
    def train(self, mode=True):
        super().train(mode)
        self[1].eval()
        return self
"""
    seen, update = [], Trainer._update

    def looked_at(self, *batch):
        seen.append(self.net[1].training)
        update(self, *batch)

    monkeypatch.setattr(Trainer, "_update", looked_at)
    (tmp_path / "mynets.py").write_text(SOURCE + still)
    call("--models", "./mynets.py:Net", "--set", "epochs=2")
    assert seen and not any(seen)


BREAKS = """
class Broken(Net):
    def forward(self, images):
        if len(images) > 2:  # a launch tries it on two
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return super().forward(images)
"""


def test_a_worker_whose_device_broke_is_replaced_and_its_other_tasks_go_on(call, tmp_path):
    (tmp_path / "mynets.py").write_text(SOURCE + BREAKS)
    nets = [f"./mynets.py:{name}" for name in ("Broken", "Net", "Net?width=4")]
    states = call("--models", *nets, "--per-job", "3", "--executor", "local", "--jobs", "1")["states"]
    assert states.pop("failed") == 1 and sum(states.values()) == 2 and set(states) <= {"done", "diverged"}
    study = Study.open(tmp_path / "study")
    first, *others = (study.progress(task).pid for task in study.tasks())
    assert first not in others and len(set(others)) == 1


BREAKS_MOVING = """
import pathlib
from toolkit.training.device import DeviceTransfer

broken = pathlib.Path({broken!r})

def breaks(transfer, batch):
    broken.touch()
    raise RuntimeError("CUDA error: an illegal memory access was encountered")

if not broken.exists():
    DeviceTransfer.__call__ = breaks
"""


def test_a_pack_whose_device_broke_between_its_nets_goes_on_in_a_new_worker(call, tmp_path):
    (tmp_path / "mynets.py").write_text(SOURCE + BREAKS_MOVING.format(broken=str(tmp_path / "broken")))
    nets = ["./mynets.py:Net", "./mynets.py:Net?width=4"]
    states = call("--models", *nets, "--pack", "2", "--executor", "local", "--jobs", "1")["states"]
    assert (tmp_path / "broken").exists()
    assert sum(states.values()) == 2 and set(states) <= {"done", "diverged"}
