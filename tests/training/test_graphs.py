"""Recorded updates. A CUDA graph freezes addresses and everything that came from Python; so does the recorder here, on
a CPU: what it replays are the operators that one update asked for, on the very tensors they had then."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.conftest import TINY, changed
from toolkit.study import find_dataset
from toolkit.training.graphs import WARM_UP, recordable
from toolkit.training.heartbeat import Heartbeat
from toolkit.training.loader import AHEAD, Loader, Pool
from toolkit.training.pack_context import PackContext
from toolkit.training.process_group import ProcessGroup
from toolkit.training.session import opened
from toolkit.training.sizing import measure
from toolkit.training.stop import StopFlag
from toolkit.training.trainer import Trainer

UPDATES = WARM_UP + 5
BATCH, SIDE = 8, 16
RECIPES = {
    "plain": {},
    "smoothed_clipped": {"label_smoothing": 0.1, "clip_grad_norm": 0.5},
    "dropped_paths": {"drop_path": 0.4},
    "parts_and_weights": {"accumulate": 2, "class_balanced": True},
    "mean_of_weights": {"ema": 0.9},
}


class Recorder(TorchDispatchMode):
    """Takes down operators with their tensors; `replay` does them again into the same tensors."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        self.calls.append((operator, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self):
        for operator, args, kwargs, result in self.calls:
            again = operator(*args, **kwargs)
            for old, new in zip(tensors(result), tensors(again), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def tensors(result):
    many = result if isinstance(result, (tuple, list)) else [result]
    return [each for each in many if isinstance(each, torch.Tensor)]


class Recorders:
    """Records a trainer's updates; as with a real graph, recording changes nothing."""

    def __init__(self):
        self.trainer, self.count = None, 0

    def __call__(self, work):
        self.count += 1
        recorder = Recorder()
        before = [(tensor, tensor.clone()) for tensor in state(self.trainer)]
        with torch.random.fork_rng(), recorder:  # a graph takes its draws when it is replayed
            work()
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)
        return recorder.replay


def state(trainer):
    momenta = [kept["momentum_buffer"] for kept in trainer.optimizer.state.values()]
    return [*trainer.net.state_dict().values(), *momenta, trainer.loss_sum]


@pytest.fixture
def trained(data):
    """A function that applies `UPDATES` updates, the learning rate falling, with a short batch among them."""
    manifest = find_dataset("stripes", data).manifest

    def run(task, record):
        trainer = Trainer(task, manifest, UPDATES, ProcessGroup(torch.device("cpu")), record=record)
        if isinstance(record, Recorders):
            record.trainer = trainer
        draws = torch.Generator().manual_seed(5)
        for step in range(UPDATES):
            count = BATCH // 2 if step == WARM_UP + 2 else BATCH
            images = torch.randn(count, 3, SIDE, SIDE, generator=draws).contiguous(memory_format=torch.channels_last)
            trainer.train_batch(images, torch.randint(0, 4, (count,), generator=draws))
        return trainer

    return run


@pytest.mark.parametrize("name", RECIPES)
def test_a_replayed_update_is_the_update(declare, trained, name):
    task = declare(recipe=changed(TINY, **RECIPES[name], epochs=1, precision="float32"))
    recorders = Recorders()
    replayed, done = trained(task, recorders), trained(task, lambda work: work)
    assert recorders.count == 1
    for a, b in zip(state(replayed), state(done), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(replayed.evaluated.state_dict().values(), done.evaluated.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("record", [None, lambda _: lambda: None], ids=["launched", "recorded"])
def test_a_net_is_freed_when_nobody_holds_it(declare, trained, record):
    """At once, not at the next search for cycles: another net may want its memory."""
    gc.collect()
    gc.disable()
    try:
        net = weakref.ref(trained(declare(recipe=changed(TINY, epochs=1)), record).net)
        assert net() is None
    finally:
        gc.enable()


def test_a_rate_in_a_tensor_is_the_rate_up_to_float32(declare, trained):
    task = declare(recipe=changed(TINY, epochs=1))
    as_ever, recorded = trained(task, None), trained(task, Recorders())
    assert recorded.train_loss() == pytest.approx(as_ever.train_loss(), rel=1e-5)
    for a, b in zip(state(recorded), state(as_ever), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


def test_who_can_be_recorded():
    assert recordable(TINY, population=True, ranks=1)
    assert not recordable(TINY, population=False, ranks=1)
    assert not recordable(TINY, population=True, ranks=2)
    assert not recordable(changed(TINY, optimizer="adamw"), population=True, ranks=1)


def test_another_optimizer_is_trained_as_ever(declare, trained):
    task = declare(recipe=changed(TINY, epochs=1, optimizer="adamw", lr=0.001))

    def record(work):
        raise AssertionError("nothing is to be recorded")

    assert trained(task, record).step == UPDATES


def test_a_pack_is_sized_by_what_a_replayed_step_takes(study, declare, data):
    """Else it is too small to hide its loading. A stand-in that replays nothing is as fast as a step can be."""
    replays = []
    dataset, pool = find_dataset("stripes", data), Pool(1)
    loaders = [Loader(opened(dataset, split), pool) for split in ("train", "val")]
    team = ProcessGroup(torch.device("cpu"))
    place = PackContext(study, dataset.manifest, *loaders, team, StopFlag(), Heartbeat(study), {})
    launched = measure(place, declare())
    replayed = measure(replace(place, record=lambda work: lambda: replays.append(1)), declare())
    pool.close()
    assert len(replays) == AHEAD and replayed.step_s < launched.step_s
