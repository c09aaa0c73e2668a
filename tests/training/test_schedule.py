import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.conftest import TINY, changed
from toolkit.errors import UsageError
from toolkit.launching.cost import MEASURED, estimate, size_of
from toolkit.study import Manifest, Recipe, Split, Task
from toolkit.training import sizing
from toolkit.training.schedule import learning_rate, resolution_at
from toolkit.training.sizing import LARGEST, Need, pack_size


@settings(max_examples=30)
@given(st.integers(1, 30), st.integers(1, 50), st.floats(0, 0.9), st.sampled_from(["cosine", "step", "constant"]))
def test_rates_ramp_up_to_the_peak_and_never_above(epochs, steps, warmup, schedule):
    recipe = Recipe(epochs=epochs, lr=0.4, schedule=schedule, warmup_epochs=warmup * epochs)
    rates = [learning_rate(recipe, step, steps) for step in range(epochs * steps)]
    assert all(0 < rate <= 0.4 for rate in rates)
    ramp = int(warmup * epochs * steps)
    assert rates[ramp:] == sorted(rates[ramp:], reverse=True)


def test_rates_of_a_known_schedule():
    recipe = Recipe(epochs=2, lr=0.2, schedule="cosine")
    assert [round(learning_rate(recipe, step, 2), 4) for step in range(4)] == [0.2, 0.1707, 0.1, 0.0293]
    recipe = Recipe(epochs=3, lr=1.0, schedule="step", warmup_epochs=0.5)
    assert [round(learning_rate(recipe, step, 2), 4) for step in range(6)] == [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]


def test_progressive_resolutions_grow_from_low_to_high():
    recipe = Recipe(epochs=5, resolution=224, progressive=(128, 224))
    assert [resolution_at(recipe, epoch) for epoch in range(5)] == [128, 152, 176, 200, 224]
    assert resolution_at(Recipe(resolution=100), 3) == 100


MANIFEST = Manifest(
    name="d",
    classes=("a", "b"),
    image_size=(32, 32),
    mean=(0.5,) * 3,
    std=(0.5,) * 3,
    content_hash="h",
    splits={
        "train": Split(file="train.beton", bytes=1, samples=1000, class_counts=(500, 500)),
        "val": Split(file="val.beton", bytes=1, samples=100, class_counts=(50, 50)),
    },
)


def task(architecture, **fields):
    return Task(architecture=architecture, dataset="d", dataset_hash="h", recipe=changed(TINY, **fields))


def test_cost_counts_three_passes_in_training_and_one_in_evaluation():
    from toolkit.anynet import architecture

    one = architecture("anynetx-500/17").complexity(16, 2).flops
    cost = estimate([task("anynetx-500/17"), task("anynetx-500/17", epochs=3)], lambda _: size_of(MANIFEST))
    assert cost.images == 5000 and cost.flops == 5 * (3 * 1000 + 100) * one
    assert cost.hours == pytest.approx(cost.flops / MEASURED.macs_per_s / 3600) and cost.device == MEASURED.device


def test_a_measured_rate_can_be_given(monkeypatch):
    monkeypatch.setenv("TOOLKIT_RATE", "some GPU=2e12")
    cost = estimate([task("anynetx-500/17")], lambda _: size_of(MANIFEST))
    assert cost.device == "some GPU" and cost.hours == pytest.approx(cost.flops / 2e12 / 3600)
    monkeypatch.setenv("TOOLKIT_RATE", "fast")
    with pytest.raises(UsageError, match="NAME=MULTIPLY-ADDS A SECOND"):
        estimate([task("anynetx-500/17")], lambda _: size_of(MANIFEST))


TRAINED = """
import sys, torch
from toolkit.training.schedule import make_optimizer
from toolkit.study import Recipe
def end(make):
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 2)
    optimizer = make(net.parameters())
    for _ in range(4):
        optimizer.zero_grad(set_to_none=True)
        net(torch.ones(5, 3)).square().sum().backward()
        optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())
    return net.weight
{0}
"""


@pytest.mark.parametrize("name, optimizer", [("sgd", "SGD"), ("adamw", "AdamW")])
def test_optimizers_are_torchs_without_its_compiler(name, optimizer):
    ours = f"make_optimizer(Recipe(lr=0.01, weight_decay=0.1, momentum=0.9, optimizer='{name}'), p)"
    momentum = "momentum=0.9, nesterov=True, " if name == "sgd" else ""
    theirs = f"torch.optim.{optimizer}(p, lr=0.01, weight_decay=0.1, {momentum}fused=True)"
    asked = f"w = end(lambda p: {ours}); print('torch._dynamo' in sys.modules, end(lambda p: {theirs}).equal(w))"
    done = subprocess.run([sys.executable, "-c", TRAINED.format(asked)], capture_output=True, text=True, check=False)
    assert done.stdout == "False True\n", done.stderr


def test_cost_is_light():
    modules = "toolkit.launching.cost, toolkit.training.init_weights"
    code = f"import sys, {modules}; sys.exit(bool({{'torch', 'cv2'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def need(load_s, kept=1, shared=0, overlaps=False):
    return Need(load_s, step_s=0.1, kept=kept, shared=shared, overlaps=overlaps)


def test_packs_are_as_large_as_loading_asks_and_memory_allows():
    assert pack_size(need(0.02), 10**9) == 4
    assert pack_size(need(0.001), 10**9) == 1
    assert pack_size(need(10), 10**9) == LARGEST
    assert pack_size(need(10, kept=100), 1000) == 7
    assert pack_size(need(10, kept=10**6), 1000) == 1
    assert pack_size(need(10, kept=100, shared=300), 1000) == 4  # activations are there once
    assert pack_size(need(10, kept=100, shared=10**6), 1000) == 1
    assert pack_size(need(0.25, overlaps=True), 10**9) == 3  # a GPU computes while the next batch is loaded


class FakeMemory:
    """The calls of torch.cuda that measuring may make, and no other."""

    def __init__(self, held):
        self.held, self.peak, self.cached = held, 10_000, held

    def reset_peak_memory_stats(self, device):
        self.peak = self.held

    def memory_allocated(self, device=None):
        return self.held

    def max_memory_allocated(self, device=None):
        return self.peak

    def memory_reserved(self, device=None):
        return self.cached

    def mem_get_info(self, device=None):
        return 1000 - self.cached, 1000

    def use(self, kept, peak):
        self.held += kept
        self.cached = self.held + peak
        self.peak = max(self.peak, self.cached)


def test_memory_of_a_net_is_the_same_whatever_was_there_before(monkeypatch):
    gpu, seen = torch.device("cuda", 0), []
    for held in (0, 100):
        memory = FakeMemory(held)
        monkeypatch.setattr(sizing.torch, "cuda", memory)
        before = sizing._start_of_memory(gpu)
        memory.use(kept=40, peak=300)
        seen.append(sizing._memory_since(before))
        assert sizing.free_memory(gpu) == 1000 - held - 40  # what the allocator holds back unused is free
    assert seen == [(40, 300)] * 2
