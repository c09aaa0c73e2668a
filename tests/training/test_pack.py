import errno
import os

import pytest
import torch

from tests.training.conftest import TINY, errors
from toolkit.errors import ToolkitError
from toolkit.train import train
from toolkit.training import trainer as learner_module
from toolkit.training.session import group_packable, in_packs
from toolkit.training.stop import StopFlag

NETS = ("anynetx-500/17", "anynetx-500/3", "torchvision/mobilenet_v3_small")


def one_by_one(study, tasks, data):
    for task in tasks:
        study.result_path(task.id).unlink(missing_ok=True)
    train(study, [task.id for task in tasks], data=data, workers=1)
    return {task.id: errors(study.result(task.id)) for task in tasks}


def test_nets_of_a_pack_come_to_what_each_comes_to_alone(study, declare, data):
    tasks = [declare(name) for name in NETS]
    train(study, [task.id for task in tasks], data=data, workers=1, pack=3)
    results = {task.id: study.result(task.id) for task in tasks}
    assert {result.provenance.pack for result in results.values()} == {3}
    assert {i: errors(result) for i, result in results.items()} == one_by_one(study, tasks, data)


@pytest.fixture
def failing(monkeypatch):
    """Make one architecture raise in its second update."""

    def arm(name, error):
        original = learner_module.Trainer.train_batch

        def train_batch(self, images, labels):
            if self.task.architecture == name and self.step == 1:
                raise error
            original(self, images, labels)

        monkeypatch.setattr(learner_module.Trainer, "train_batch", train_batch)
        return lambda: monkeypatch.setattr(learner_module.Trainer, "train_batch", original)

    return arm


def test_what_befalls_one_net_leaves_the_others_alone(study, declare, data, failing):
    tasks = [declare(name) for name in NETS]
    disarm = failing(NETS[1], RuntimeError("bad luck"))
    outcome = train(study, [task.id for task in tasks], data=data, workers=1, pack=3)
    assert outcome.failed == [tasks[1].id] and not study.result(tasks[1].id).evaluations
    assert study.result(tasks[1].id).failure.message == "bad luck"
    others = {task.id: errors(study.result(task.id)) for task in (tasks[0], tasks[2])}
    disarm()
    assert others == one_by_one(study, [tasks[0], tasks[2]], data)


def test_a_net_that_computes_no_number_leaves_the_others_alone(study, declare, data, monkeypatch):
    """Its weights become NaN in its second update, and so what it computes from them; nets of a pack share batches."""
    tasks = [declare(name) for name in NETS]
    original = learner_module.Trainer.train_batch

    def train_batch(self, images, labels):
        if self.task.architecture == NETS[1] and self.step == 1:
            with torch.no_grad():
                next(self.net.parameters()).fill_(torch.nan)
        original(self, images, labels)

    with monkeypatch.context() as patch:
        patch.setattr(learner_module.Trainer, "train_batch", train_batch)
        outcome = train(study, [task.id for task in tasks], data=data, workers=1, pack=3)
    assert tasks[1].id in outcome.diverged and study.result(tasks[1].id).failure.kind == "NonFiniteLoss"
    others = {task.id: errors(study.result(task.id)) for task in (tasks[0], tasks[2])}
    assert all(others.values()) and others == one_by_one(study, [tasks[0], tasks[2]], data)


@pytest.mark.parametrize(
    "reason, error",
    [
        (None, OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN), "/usr/lib/python3.11/heapq.py")),
        ("SIGTERM", ImportError("a library says whatever it likes")),
    ],
)
def test_an_image_that_goes_away_is_no_failure_of_the_task(study, declare, data, monkeypatch, reason, error):
    """squashfuse ends by the SIGTERM that also asks the task to stop; what Python reads from the image then raises."""
    tasks, stop = [declare(name) for name in NETS[:2]], StopFlag()

    def train_batch(self, images, labels):
        if reason:
            stop.set(reason)
        raise error

    with monkeypatch.context() as patch, pytest.raises(ToolkitError, match="goes on from its last checkpoint"):
        patch.setattr(learner_module.Trainer, "train_batch", train_batch)
        train(study, [task.id for task in tasks], data=data, workers=1, pack=2, stop=stop)
    assert not study.finished()
    outcome = train(study, [task.id for task in tasks], data=data, workers=1, pack=2)
    assert sorted(outcome.done + outcome.diverged) == sorted(task.id for task in tasks)


def no_memory_on_a_gpu():
    raise torch.cuda.OutOfMemoryError("no memory")


def no_memory_on_a_cpu():
    torch.empty(1 << 60)


@pytest.mark.parametrize("fail", [no_memory_on_a_gpu, no_memory_on_a_cpu])
def test_a_net_without_memory_beside_others_runs_after_them(study, declare, data, monkeypatch, fail):
    tasks = [declare(name) for name in NETS[:2]]
    original = learner_module.Trainer.train_batch
    beside: list = []

    def train_batch(self, images, labels):
        if self.task.architecture == NETS[1] and not beside:
            beside.append(self)
            fail()
        original(self, images, labels)

    monkeypatch.setattr(learner_module.Trainer, "train_batch", train_batch)
    outcome = train(study, [task.id for task in tasks], data=data, workers=1, pack=2)
    assert sorted(outcome.done + outcome.diverged) == sorted(task.id for task in tasks)
    assert study.result(tasks[1].id).provenance.pack == 1


def test_nets_resumed_at_different_places_go_on_together(study, declare, data):
    ahead, fresh = declare(NETS[0]), declare(NETS[1])

    class AfterOneEpoch(StopFlag):
        def __bool__(self):
            return bool(list(study.room("checkpoints").glob("*/latest.pt")))

    assert train(study, [ahead.id], data=data, workers=1, stop=AfterOneEpoch()).preempted == [ahead.id]
    train(study, [ahead.id, fresh.id], data=data, workers=1, pack=2)
    together = {task.id: errors(study.result(task.id)) for task in (ahead, fresh)}
    assert together == one_by_one(study, [ahead, fresh], data)


def test_packs_hold_only_tasks_that_see_the_same_batches(declare):
    same = [declare(name) for name in NETS]
    other_seed = declare(NETS[0], seed=1)
    other_recipe = declare(NETS[0], recipe=TINY.model_copy(update={"lr": 0.02}))
    other_size = declare("torchvision/vit_b_16")
    found = group_packable([*same, other_seed, other_recipe, other_size])
    assert found == [same, [other_seed], [other_recipe], [other_size]]
    assert in_packs(same, 2) == [same[:2], same[2:]]
