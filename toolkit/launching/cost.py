"""What tasks will cost, before any of them runs. Imports neither torch nor FFCV: the launcher asks.

An image costs a net's multiply-adds once forward and twice backward; evaluation is forward only. Hours follow from a
rate of multiply-adds a second that was measured, never from a data sheet.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from toolkit.anynet import architecture
from toolkit.errors import UsageError
from toolkit.study.dataset import Manifest
from toolkit.study.task import Task
from toolkit.training.schedule import resolution_at

BACKWARD = 2
"""A backward pass in forward passes: one product for the inputs, one for the weights."""
RATE = "TOOLKIT_RATE"


class Rate(NamedTuple):
    """How fast a device trains nets of the population."""

    device: str
    macs_per_s: float
    """Multiply-adds of conv and linear a second, forward and backward counted."""
    basis: str


MEASURED = Rate(
    "one core of an AMD EPYC",
    18e9,
    "measured: nets of anynetx-500 at 32 pixels, 750 images/s a core; TOOLKIT_RATE gives yours",
)


class Size(NamedTuple):
    """What of a dataset decides the cost."""

    train: int
    """Images."""
    val: int
    classes: int


class Cost(NamedTuple):
    """Of some tasks together."""

    images: int
    """Training images, counted as often as they are seen."""
    flops: int
    """Multiply-adds, evaluation included."""
    hours: float
    """On one ``device``."""
    device: str
    basis: str
    """Where the rate comes from."""
    uncounted: int = 0
    """Tasks whose net cannot be counted without building it: they are in ``images`` alone."""


def size_of(manifest: Manifest) -> Size:
    """A dataset's size."""
    return Size(manifest.splits["train"].samples, manifest.splits["val"].samples, len(manifest.classes))


NO_TEXTS: Mapping[str, str] = {}


def estimate(tasks: Sequence[Task], find: Callable[[str], Size], texts: Mapping[str, str] = NO_TEXTS) -> Cost:
    """The cost of ``tasks``; ``find`` gives a dataset's size by name, ``texts`` are those the architectures stand for.

    The device is the one of ``TOOLKIT_RATE`` ("NAME=MULTIPLY-ADDS A SECOND", which ``toolkit.bench sweep`` prints),
    else the one measured here. Raises `UsageError` for a rate that cannot be read, and what ``find`` raises.
    """
    sizes = {name: find(name) for name in {task.dataset for task in tasks}}
    per_image = _counter(texts)
    counted = [_flops(task, sizes[task.dataset], per_image) for task in tasks]
    images = sum(task.recipe.epochs * sizes[task.dataset].train for task in tasks)
    flops = sum(count for count in counted if count is not None)
    rate = chosen_rate()
    return Cost(images, flops, flops / rate.macs_per_s / 3600, rate.device, rate.basis, counted.count(None))


def chosen_rate() -> Rate:
    """The rate of ``TOOLKIT_RATE``, else `MEASURED`. Raises `UsageError` when it cannot be read."""
    given = os.environ.get(RATE)
    if not given:
        return MEASURED
    device, _, number = given.rpartition("=")
    try:
        return Rate(device.strip() or "a device", float(number), f"{RATE}={given}")
    except ValueError as error:
        raise UsageError(f"{RATE}={given!r}: write NAME=MULTIPLY-ADDS A SECOND, such as 'NAME=1e12'") from error


PerImage = Callable[[str, int, int], int | None]
"""Multiply-adds of an image by architecture, resolution and classes; None where only building the net would tell."""


def _flops(task: Task, size: Size, per_image: PerImage) -> int | None:
    recipe = task.recipe
    sides = [resolution_at(recipe, epoch) for epoch in range(recipe.epochs)]
    seen = {
        side: per_image(task.architecture, side, size.classes) for side in {*sides, recipe.resolution_at_evaluation}
    }
    counts = {side: count for side, count in seen.items() if count is not None}
    if len(counts) < len(seen):
        return None
    training = sum(size.train * (1 + BACKWARD) * counts[side] for side in sides)
    return training + recipe.epochs * size.val * counts[recipe.resolution_at_evaluation]


def _counter(texts: Mapping[str, str]) -> PerImage:
    @cache
    def per_image(name: str, resolution: int, classes: int) -> int | None:
        net = architecture(name, texts)
        complexity = net.complexity(net.input_size(resolution), classes)
        return complexity.flops if complexity else None

    return per_image
