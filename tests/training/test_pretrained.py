"""Starts from published weights: found in the caches, kept in the study, a column of their own; nothing is fetched."""

import json
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import get_model_weights

from toolkit.analysis.study_source import study_measurements
from toolkit.anynet import architecture
from toolkit.anynet.pretrained import main as find_weights
from toolkit.errors import UsageError
from toolkit.launch import main as launch
from toolkit.study import Study
from toolkit.study.scan import scan
from toolkit.training.trainer import Trainer

NETS = ["torchvision/squeezenet1_1", "timm/test_resnet"]
STILL = ["epochs=1", "batch=16", "lr=1e-12", "resolution=32"]


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """The libraries' caches, with weights that were drawn here; returns them by net."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # the verb sets it for its process, which here is the tests'
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))  # read at its import
    torch.manual_seed(3)
    weights = {name: architecture(name).build(1000, 160).state_dict() for name in NETS}
    hub = tmp_path / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    torch.save(weights[NETS[0]], hub / Path(get_model_weights("squeezenet1_1").DEFAULT.url).name)
    repository = tmp_path / "hf" / "hub" / "models--timm--test_resnet.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(weights[NETS[1]], repository / "snapshots" / ("0" * 40) / "model.safetensors")
    return weights


def test_a_launch_starts_from_the_weights_in_the_cache(caches, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Trainer, "check_learned", lambda self: None)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")  # torch is imported, so its threads would spin
    where = ["--dataset", "stripes", "--data", str(data), "--study", str(tmp_path / "study")]
    how = ["--recipe", "finetune", "--set", *STILL, "--executor", "debug", "--json"]
    launch([*where, *how, "--models", NETS[0], "--init-from", "pretrained"])
    assert json.loads(capsys.readouterr().out)["states"] == {"done": 1}
    study = Study.open(tmp_path / "study")
    assert set(scan(study).frame["dataset"]) == {"stripes<-pretrained"}
    [(task_id, task)] = study.tasks().items()
    after = torch.load(study.final_weights(task_id), weights_only=True)["model"]
    kernels = [name for name, tensor in after.items() if tensor.ndim == 4 and "classifier" not in name]
    assert kernels and all(torch.allclose(after[k], caches[NETS[0]][k], atol=1e-6) for k in kernels)
    assert task.start.weights == "torchvision/squeezenet1_1.IMAGENET1K_V1"
    said = study_measurements(study).remarks
    assert [line.partition(": ")[2] for line in said] == [
        "these nets start from published weights, not from scratch (torchvision/squeezenet1_1.IMAGENET1K_V1)."
    ]


def ask(monkeypatch, **request):
    """The process that a launch asks, in this one."""
    document = {"texts": {}, "file": None, "out": None, "version": 1, **request}
    monkeypatch.setattr(
        "sys.stdin", type("Input", (), {"buffer": type("B", (), {"read": lambda: json.dumps(document)})})
    )
    return find_weights([])


def test_timm_s_weights_are_found_in_the_hub_s_cache(caches, tmp_path, monkeypatch, capsys):
    assert ask(monkeypatch, nets=[NETS[1]], out=str(tmp_path / "out")) == 0
    found = json.loads(capsys.readouterr().out)[NETS[1]]
    kept = torch.load(tmp_path / "out" / found["task"] / "final.pt", weights_only=True)
    assert found["name"] == "timm/test_resnet.r160_in1k" and kept["architecture"] == NETS[1]
    assert all(torch.equal(kept["model"][name], tensor) for name, tensor in caches[NETS[1]].items())


@pytest.mark.parametrize(
    ("nets", "told"),
    [
        (
            ["timm/test_vit", "torchvision/alexnet"],
            r"2 models are not in your cache: timm/test_vit, torchvision/alexnet",
        ),
        (["torchvision/alexnet"], r"torchvision.models.get_model\(m, weights='DEFAULT'\) for m in \['alexnet'\]\]\"$"),
        (["anynetx-500/3"], r"anynetx-500/3 has no published weights"),
    ],
)
def test_what_is_not_here_is_told_with_the_line_that_fetches_it(caches, monkeypatch, nets, told):
    with pytest.raises(UsageError, match=told):
        ask(monkeypatch, nets=nets)


def test_a_file_of_weights(caches, tmp_path, monkeypatch, capsys):
    net = architecture("anynetx-500/3").build(7, 32)
    torch.save({"state_dict": net.state_dict()}, tmp_path / "mine.pth")
    assert ask(monkeypatch, nets=["anynetx-500/3"], file=str(tmp_path / "mine.pth"), out=str(tmp_path / "out")) == 0
    found = json.loads(capsys.readouterr().out)["anynetx-500/3"]
    kept = torch.load(tmp_path / "out" / found["task"] / "final.pt", weights_only=True)
    assert found["name"] == "mine.pth" and torch.equal(kept["model"]["head.weight"], net.state_dict()["head.weight"])
    for nets, told in [
        (["anynetx-500/4"], r"mine\.pth is of another net"),
        (["anynetx-500/3", "anynetx-500/4"], "weights of one net, and 2 are named"),
    ]:
        with pytest.raises(UsageError, match=told):
            ask(monkeypatch, nets=nets, file=str(tmp_path / "mine.pth"), out=str(tmp_path / "out"))
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(UsageError, match="holds no weights"):
        ask(monkeypatch, nets=["anynetx-500/3"], file=str(tmp_path / "text.pth"), out=str(tmp_path / "out"))
