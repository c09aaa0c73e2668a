"""How fast a GPU trains sampled nets, from a run of `toolkit.bench gpu`, and the hours that tasks take at that rate.

An update on a GPU takes what launching its kernels or moving its activations takes, so images are counted there, by
their side in pixels, and not multiply-adds.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from toolkit.errors import UsageError
from toolkit.launching.cost import Size
from toolkit.launching.request import POPULATION
from toolkit.study.model import FrozenModel, first_problem
from toolkit.study.recipe import Recipe
from toolkit.study.task import Task
from toolkit.texts import read_text
from toolkit.training.schedule import resolution_at

SAMPLE = 4
"""Nets of a pack at least, so that its rate stands for the population's (our choice)."""


class GpuRates(NamedTuple):
    """Images a second that a GPU trains, counted once a net."""

    device: str
    basis: str
    """Where they come from, and in which ways the GPU trained."""
    images_s: tuple[tuple[int, float], ...]
    """By side of the images in pixels, ascending; a rate holds for all sides up to its own."""

    def seconds(self, side: int, images: int) -> float | None:
        """What ``images`` of a side take; None beyond the largest that was measured."""
        return next((images / rate for largest, rate in self.images_s if side <= largest), None)


H200 = GpuRates(
    "one NVIDIA H200",
    "measured on one day, kernels launched one by one: docs/benchmarks/gpu.md; --rates gives yours",
    ((32, 6_030), (224, 3_430)),
)
"""Small images: the harmonic mean of three nets, one at a time; larger ones: a pack of eight nets."""


class _Row(FrozenModel):
    k: int
    side: int
    ways: str
    pack: float = Field(gt=0, allow_inf_nan=False)
    """Images a second."""


def read_gpu_rates(folder: str) -> GpuRates:
    """The best rate for each side that ``toolkit.bench gpu --out FOLDER`` measured, loading included.

    Raises `UsageError` where there is no such run, or it got to no pack of `SAMPLE` nets.
    """
    path = Path(folder) / "packs.json"
    try:
        document = json.loads(read_text(path))
        rows = [_Row.model_validate({key: row.get(key) for key in _Row.model_fields}) for row in document["rows"]]
        device = str(document["device"])
    except ValidationError as error:
        raise UsageError(f"--rates: {path}: {first_problem(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"--rates: {path} is no table of toolkit.bench gpu ({error})") from error
    sampled = [row for row in rows if row.k >= SAMPLE]
    if not sampled:
        raise UsageError(f"--rates: {path} has no pack of {SAMPLE} nets: run toolkit.bench gpu --only packs on a GPU")
    sides = sorted({row.side for row in sampled})
    best = [max((row for row in sampled if row.side == side), key=lambda row: row.pack) for side in sides]
    told = "; ".join(f"up to {row.side} pixels {row.k} nets{', ' * bool(row.ways)}{row.ways}" for row in best)
    return GpuRates(device, f"{path}: {told}", tuple((row.side, row.pack) for row in best))


def gpu_hours(tasks: Sequence[Task], find: Callable[[str], Size], rates: GpuRates) -> float | None:
    """Hours of one GPU, evaluation counted as training; ``find`` gives a dataset's size by name.

    None where nets are not of the population that was measured, or images larger than any that were.
    """
    if not all(task.architecture.startswith(f"{POPULATION}/") for task in tasks):
        return None
    total = 0.0
    for (dataset, recipe), count in Counter((task.dataset, task.recipe) for task in tasks).items():
        seconds = [rates.seconds(side, images) for side, images in _seen(recipe, find(dataset))]
        if None in seconds:
            return None
        total += count * sum(filter(None, seconds))
    return total / 3600


def hours_on_a_gpu(tasks: Sequence[Task], find: Callable[[str], Size], folder: str | None) -> dict[str, Any]:
    """What a preview tells of a GPU: `gpu_hours` by the rates in ``folder``, else by those of `H200`, and which GPU."""
    rates = read_gpu_rates(folder) if folder else H200
    hours = gpu_hours(tasks, find, rates)
    return {"gpu_hours": None if hours is None else round(hours, 1), "gpu": f"{rates.device} ({rates.basis})"}


def _seen(recipe: Recipe, size: Size) -> Iterator[tuple[int, int]]:
    """Sides and images that a task sees, epoch by epoch."""
    for epoch in range(recipe.epochs):
        yield resolution_at(recipe, epoch), size.train
        yield recipe.resolution_at_evaluation, size.val
