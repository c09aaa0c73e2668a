"""Recorded updates. A CUDA graph freezes addresses and everything that came from Python; so does the recorder here, on
a CPU: what it replays are the operators that one update asked for, on the very tensors they had then."""

import gc
import weakref
from collections import Counter
from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.conftest import TINY, changed
from toolkit.study import find_dataset
from toolkit.training import graphs, session
from toolkit.training.graphs import WARM_UP, cuda_graph, recordable
from toolkit.training.process_group import ProcessGroup
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
    return [*trainer.net.state_dict().values(), *momenta, trainer.loss_sum, *trainer.errors.all]


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


@pytest.mark.parametrize("name", ["plain", "mean_of_weights"])
def test_a_replayed_evaluation_counts_the_same(declare, trained, name):
    """Also after the net has learnt more, in batches of which the last is short; a mean of weights is another net."""
    task = declare(recipe=changed(TINY, **RECIPES[name], epochs=2, precision="float32"))
    recorders = Recorders()
    nets = [trained(task, recorders), trained(task, None)]
    nets[1].net.load_state_dict(nets[0].net.state_dict())  # their learning rates differ by what float32 rounds
    nets[1].evaluated.load_state_dict(nets[0].evaluated.state_dict())
    for epoch in range(2):
        for net in nets:
            draws = torch.Generator().manual_seed(epoch)
            net.start_evaluation()
            for count in [BATCH] * (WARM_UP + 2) + [3]:
                images = torch.randn(count, 3, SIDE, SIDE, generator=draws).contiguous(
                    memory_format=torch.channels_last
                )
                net.evaluate_batch(images, torch.randint(0, 4, (count,), generator=draws))
        assert int(nets[0].errors.images_by_class.sum()) == BATCH * (WARM_UP + 2) + 3
        assert all(torch.equal(a, b) for a, b in zip(nets[0].errors.all, nets[1].errors.all, strict=True))
        with torch.no_grad():
            for net in nets:
                for weights in net.net.parameters():
                    weights.mul_(1.5)
    assert recorders.count == (1 if name == "mean_of_weights" else 2)


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


def test_a_pack_is_sized_by_replayed_updates(study, declare, data, monkeypatch):
    """A launched update can take five times as long as a replayed one, and a pack is as large as hides its loading."""
    replays, seen = [], []

    def size(need, free):
        seen.append((need, len(replays)))
        return 1

    monkeypatch.setattr(session, "pack_size", size)
    with session.Session(study, data, 1, StopFlag()) as running:
        running.record = lambda work: lambda: replays.append(work)
        running.run([declare(recipe=changed(TINY, epochs=1))], pack=0)
    [(need, replayed)] = seen
    assert replayed >= 2 and need.step_s > 0


class Pools:
    """A strict stand-in for what torch.cuda has of graphs: a pool whose graphs are all gone takes no more of them.

    PyTorch's allocator asserts it wherever memory of the pool is still in use, and cuBLAS's workspace always is.
    """

    def __init__(self, monkeypatch):
        self.users = pools = Counter()

        class Graph:
            def replay(self):
                pass

        @contextmanager
        def capture(graph, pool, capture_error_mode):
            assert capture_error_mode == "thread_local", "decoding threads may pin memory meanwhile"
            assert pool not in pools or pools[pool] > 0, "it->second->use_count > 0"
            pools[pool] += 1
            weakref.finalize(graph, pools.subtract, [pool])
            yield

        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph", capture)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, len(pools) + 1))


@pytest.fixture
def pools(monkeypatch):
    graphs._pool.cache_clear()
    yield Pools(monkeypatch)
    graphs._pool.cache_clear()


def test_one_pool_serves_all_graphs_also_when_the_one_before_is_gone(pools):
    """A net that leaves takes its graph with it; so does one whose pictures grow, before it is recorded anew."""
    for _ in range(2):
        replay = cuda_graph(lambda: None)
        replay()
        del replay
    assert len(pools.users) == 1


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
