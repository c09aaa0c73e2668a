"""What becomes of a task between its start and its result: pauses, saves within an epoch, results without a place."""

import json

import pytest
import torch

from tests.training.conftest import TINY, changed
from toolkit.anynet import architecture
from toolkit.errors import ToolkitError
from toolkit.imagefile.reader import Beton
from toolkit.study import find_dataset
from toolkit.study.submission import Manner
from toolkit.train import train
from toolkit.training import device, kernels, pack, roster
from toolkit.training.device import DeviceTransfer
from toolkit.training.heartbeat import Heartbeat
from toolkit.training.loader import Loader, Pool
from toolkit.training.pack_context import PackContext
from toolkit.training.policies import Policy, training_batches
from toolkit.training.process_group import ProcessGroup
from toolkit.training.request import TrainRequest, open_session
from toolkit.training.sizing import measure
from toolkit.training.stop import StopFlag
from toolkit.training.trainer import Trainer

NET = "anynetx-500/1"


@pytest.fixture(autouse=True)
def every_net_is_done(monkeypatch):
    monkeypatch.setattr(Trainer, "check_learned", lambda self: None)


def latest(study, task):
    return study.checkpoint_folder(task.id) / "latest.pt"


def test_a_task_is_left_after_the_epochs_that_were_asked_for_and_goes_on_from_there(study, declare, data, capsys):
    task = declare(NET, recipe=changed(TINY, epochs=3))
    for said in ("epoch 1/3", ""):  # the second time there is nothing to train
        with open_session(TrainRequest(study, data, Manner(pause=1), workers=1), StopFlag()) as session:
            assert session([task.id]) == ([], [], [], [])
        kept = torch.load(latest(study, task), weights_only=True)
        told = study.progress(task.id)
        assert (told.phase, told.epoch, kept["epoch"], kept["step"]) == ("paused", 1, 1, 0)
        assert told.error == kept["evaluations"][-1]["wrong_top1"] / 40
        err = capsys.readouterr().err
        assert said in err and "paused after epoch 1" in err and "epoch 2/3" not in err
    assert train(study, [task.id], data=data, workers=1).done == [task.id]
    assert len(study.result(task.id).evaluations) == 3 and not latest(study, task).exists()


def fails_at(monkeypatch, step):
    update = Trainer.train_batch

    def train_batch(self, images, labels):
        if self.step == step:
            raise RuntimeError("bad luck")
        update(self, images, labels)

    monkeypatch.setattr(Trainer, "train_batch", train_batch)


@pytest.mark.parametrize("every", [-1.0, 300.0])
def test_within_an_epoch_a_net_is_saved_at_times_and_a_failure_leaves_the_save(
    study, declare, data, monkeypatch, every
):
    monkeypatch.setattr(pack, "SAVE_EVERY_S", every)
    fails_at(monkeypatch, 3)
    task = declare(NET)
    assert train(study, [task.id], data=data, workers=1).failed == [task.id]
    if every > 0:
        assert not latest(study, task).exists()
    else:
        kept = torch.load(latest(study, task), weights_only=True)
        assert (kept["epoch"], kept["step"], kept["clock"]["images"]) == (0, 3, 3 * TINY.batch)
        assert kept["clock"]["total"] > kept["clock"]["compute"] > 0


def test_what_was_trained_before_a_stop_is_not_loaded_again(study, declare, data, monkeypatch, capsys):
    task, stop, seen, update = declare(NET), StopFlag(), [], Trainer.train_batch

    def train_batch(self, images, labels):
        update(self, images, labels)
        seen.append((self.epoch, self.step))
        if len(seen) == 4:
            stop.set("the test")

    loaded, moved = [], DeviceTransfer.__call__
    monkeypatch.setattr(Trainer, "train_batch", train_batch)
    monkeypatch.setattr(
        DeviceTransfer, "__call__", lambda self, batch: (loaded.append(batch.step), moved(self, batch))[1]
    )
    assert train(study, [task.id], data=data, workers=1, stop=stop).preempted == [task.id]
    assert capsys.readouterr().err.endswith("on stripes: stopped by the test at epoch 0, checkpoint kept\n")
    first_run = len(loaded)
    assert train(study, [task.id], data=data, workers=1).done == [task.id]
    assert seen == [(epoch, step) for epoch in (0, 1) for step in range(1, 11)]
    assert loaded[first_run] == 4
    result = study.result(task.id)
    assert result.timing.total_s > 0 and result.provenance.restarts == 1


class Blocking(StopFlag):
    """Puts a file where the results should be as soon as training looks at it; with ``mends``, takes it away again."""

    def __init__(self, study, mends):
        super().__init__()
        self.folder, self.mends, self.away = study.room("results"), mends, study.path / "away"

    def __bool__(self):
        if not self.away.exists():
            self.folder.rename(self.away)
            self.folder.touch()
        elif self.mends and any(self.folder.parent.glob("checkpoints/*/final.pt")):
            self.folder.unlink()
            self.away.rename(self.folder)
            self.mends = False
        return False


def test_a_result_waits_for_its_place(study, declare, data, capsys):
    task = declare(NET, recipe=changed(TINY, epochs=1))
    assert train(study, [task.id], data=data, workers=1, stop=Blocking(study, mends=True)).done == [task.id]
    [said] = [line for line in capsys.readouterr().err.splitlines() if "tried again" in line]
    assert said.startswith("error: ") and said.endswith("tried again for 5 minutes")


def test_a_result_that_gets_no_place_ends_the_run_and_its_checkpoint_stays(study, declare, data, monkeypatch):
    monkeypatch.setattr(roster, "PATIENCE_S", -1.0)
    task, after = declare(NET), declare(NET, seed=1)
    with pytest.raises(ToolkitError, match=f"{task.id}.json cannot be written"):
        train(study, [task.id, after.id], data=data, workers=1, stop=Blocking(study, mends=False))
    assert torch.load(latest(study, task), weights_only=True)["epoch"] == 1
    assert not latest(study, after).exists()


@pytest.fixture
def place(study, data):
    """What a pack on ``stripes`` works with, outside of a session."""
    dataset, pool = find_dataset("stripes", data), Pool(2)
    loaders = [Loader(Beton.open(dataset.beton(split)), pool) for split in ("train", "val")]
    team = ProcessGroup(torch.device("cpu"))
    yield PackContext(study, dataset.manifest, *loaders, team, StopFlag(), Heartbeat(study), {})
    pool.close()


def test_a_measured_need_on_a_processor_is_counted_from_weights_and_activations(declare, place):
    task = declare(NET, recipe=changed(TINY, epochs=2, resolution=16, progressive=(16, 24)))
    need = measure(place, task)
    counted = architecture(NET).complexity(24, 4)
    assert need.kept == 4 * 4 * counted.params and need.shared == 4 * 4 * TINY.batch * counted.activations
    assert need.load_s > 0 and need.step_s > 0 and not need.overlaps


@pytest.mark.parametrize("fields", [{"auto_augment": "trivialaugment"}, {"erasing": 0.7}])
def test_every_picture_of_a_batch_is_augmented_once(declare, place, fields):
    """Twice three parts of 16 pictures and one of 5, each worked on by a thread."""
    task = declare(NET, recipe=changed(TINY, batch=53, **fields), seed=4)
    found = list(training_batches(place, task, 3, 24, first=1))
    plain = list(place.train.train(task.recipe, 4, 3, 24, 1))
    assert [batch.step for batch in found] == [batch.step for batch in plain] == [1, 2]
    for batch, expected in zip(found, plain, strict=True):
        before = expected.images.copy()
        Policy(task.recipe, 4, place.manifest.mean).apply(None, expected, slice(None), 3)
        assert (batch.images == expected.images).all() and (batch.images != before).any()


def test_the_try_of_gpus_is_one_document(capsys, monkeypatch):
    monkeypatch.setattr(device, "DRIVER", kernels.DRIVER / "none")
    monkeypatch.setattr(kernels, "DRIVER", kernels.DRIVER / "none")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert kernels.main([]) == 0
    assert json.loads(capsys.readouterr().out) == {"right": [], "trouble": []}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert kernels.main([]) == 0
    found = json.loads(capsys.readouterr().out)
    [line] = found["trouble"]
    assert found["right"] == [] and "CUDA_VISIBLE_DEVICES=0, but PyTorch sees no GPU (no NVIDIA driver is" in line


def test_a_processor_is_named_with_its_threads():
    name, _, threads = device.describe(torch.device("cpu")).rpartition(", ")
    assert name and threads == f"{torch.get_num_threads()} threads"
