import json

import pytest
import torch

from tests.training.conftest import TINY, changed
from toolkit.errors import ToolkitError, UsageError
from toolkit.launch import main as launch
from toolkit.launching.dependencies import started_from
from toolkit.study import Study, Task
from toolkit.study.task import Start
from toolkit.train import train
from toolkit.training.init_weights import find_final
from toolkit.training.trainer import Trainer

NAME = "anynetx-500/3"


@pytest.fixture(autouse=True)
def every_net_is_done(monkeypatch):
    """A few updates may teach a net nothing, and one that diverged keeps no weights."""
    monkeypatch.setattr(Trainer, "check_learned", lambda self: None)


def weights(study, task):
    return torch.load(find_final(study, task.id), weights_only=True)["model"]


def test_a_linear_probe_moves_the_classifier_alone(study, declare, data):
    source = declare(NAME)
    train(study, [source.id], data=data, workers=1)
    start = Start(task=source.id, dataset="stripes")
    probe = declare(NAME, recipe=changed(TINY, tune="head", lr=0.05), start=start)
    train(study, [probe.id], data=data, workers=1)
    before, after = weights(study, source), weights(study, probe)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all("head" in name or "fc" in name or "linear" in name for name in moved), moved
    assert len(moved) == 2


def test_fine_tuning_starts_where_the_source_ended(study, declare, data):
    source = declare(NAME)
    train(study, [source.id], data=data, workers=1)
    start = Start(task=source.id, dataset="stripes")
    tuned = declare(NAME, recipe=changed(TINY, lr=1e-12, epochs=1), start=start)
    train(study, [tuned.id], data=data, workers=1)
    before, after = weights(study, source), weights(study, tuned)
    kernels = [name for name in before if before[name].ndim == 4]
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in kernels)


def test_weights_of_a_study_beside_are_not_looked_for(study, declare, data):
    """Whoever may make a folder beside a study could have put there what it starts from."""
    source = declare(NAME)
    train(study, [source.id], data=data, workers=1)
    beside = Study.create(study.path.parent / "beside")
    with pytest.raises(ToolkitError, match="not finished"):
        find_final(beside, source.id)


def test_a_missing_source_is_named(study, declare, data):
    task = declare(NAME, start=Start(task="0123456789abcdef", dataset="stripes"))
    assert train(study, [task.id], data=data, workers=1).failed == [task.id]
    assert "task 0123456789abcdef is not finished): train it first" in study.result(task.id).failure.message


@pytest.mark.parametrize(
    "change, words",
    [
        ({"version": 99}, "no checkpoint of format 1"),
        ({"architecture": "anynetx-500/17"}, "holds anynetx-500/17, not anynetx-500/3"),
        ({"task": "0123456789abcdef"}, "belongs to task 0123456789abcdef"),
        (None, "no whole checkpoint"),
    ],
)
def test_checkpoints_of_something_else_are_refused(study, declare, data, change, words):
    source = declare(NAME)
    train(study, [source.id], data=data, workers=1)
    path = find_final(study, source.id)
    if change is None:
        path.write_bytes(path.read_bytes()[:5000])
    else:
        torch.save(torch.load(path, weights_only=True) | change, path)
    task = declare(NAME, seed=1, start=Start(task=source.id, dataset="stripes"))
    assert train(study, [task.id], data=data, workers=1).failed == [task.id]
    assert words in study.result(task.id).failure.message


def test_a_source_that_is_not_there_is_an_error_without_torch(tmp_path):
    with pytest.raises(ToolkitError, match=r"task abc is not finished\): train it first"):
        find_final(Study.create(tmp_path / "s"), "abc")


def test_a_launch_starts_from_the_same_nets_of_the_study(study, declare, data, tmp_path):
    source = declare(NAME)
    train(study, [source.id], data=data, workers=1)
    fresh = Task(architecture=NAME, dataset="other", dataset_hash="h", recipe=TINY)
    assert fresh.id  # kept by the task: a copy must not inherit it
    [tuned] = started_from([fresh], study, "stripes")
    assert tuned.start == Start(task=source.id, dataset="stripes") and tuned.id != fresh.id
    assert tuned.column == "other<-stripes"
    strange = fresh.model_copy(update={"architecture": "anynetx-500/5"})
    with pytest.raises(UsageError, match=r"(?s)study .* has no task there of anynetx-500/5: launch them"):
        started_from([fresh, strange], study, "stripes")


def test_a_dry_run_tells_the_cost(study, data, capsys):
    arguments = ["--models", NAME, "--dataset", "stripes", "--data", str(data), "--study", str(study.path / "new")]
    recipe = ["--recipe", "quick", "--set", "epochs=3"]
    assert launch([*arguments, "--executor", "debug", *recipe, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["images"] == 160 * 3 and plan["flops"] > 0 and "one core" in plan["hours_on"]
