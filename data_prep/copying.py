"""Copies the samples of a subset out of its parent's files: encoded bytes as they are, labels as the plan says."""

import functools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.beton import Beton, BetonWriter, Encoded
from data_prep.folder import new_folder
from data_prep.plans import Plan, take
from data_prep.progress import progress
from data_prep.workers import available_cores, threads
from data_prep.workers import workers as processes
from data_prep.writer import About, Colours, every, finish_dataset
from toolkit.errors import UsageError
from toolkit.study.dataset import Dataset, Manifest, Metric, Parent

CHUNK = 256
"""Images a thread reads at a time."""
TOP5_ABOVE = 10
"""Subsets of more classes count the parent's error, smaller ones top-1 (as the paper's IN-100 and IN-10)."""


def write_subset(
    parent: Dataset,
    plan: Plan,
    path: Path,
    metric: Metric | None = None,
    *,
    workers: int | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Write the dataset folder ``path``: the samples of ``plan``, copied from ``parent``.

    Raises `UsageError` when ``path`` is there already or a split is empty, `ToolkitError` when the parent is damaged
    or the disk is full.
    """
    workers = workers or available_cores()
    with ExitStack() as stack:
        betons = {name: stack.enter_context(Beton(parent.beton(name))) for name in parent.manifest.splits}
        taken = {name: take(beton.labels, plan, name == "train") for name, beton in betons.items()}
        for name, (numbers, _) in taken.items():
            if not len(numbers):
                raise UsageError(f"split {name} of {parent.manifest.name} has no image of these classes")
        folder = stack.enter_context(new_folder(path, overwrite))
        with progress(path.name, sum(len(numbers) for numbers, _ in taken.values())) as advance:
            records = {
                name: _copy(betons[name], folder / f"{name}.beton", *of_split, workers, advance)
                for name, of_split in taken.items()
            }
        colours = _measure(folder / "train.beton", workers)
        about = _about(parent.manifest, plan, metric)
        return finish_dataset(folder, path.name, about, parent.manifest.encoding, records, colours)


class _Part(NamedTuple):
    """Some samples of a file."""

    beton: Beton
    numbers: Sequence[int]
    labels: Sequence[int]


class _Range(NamedTuple):
    """Some samples of a file, for a process that opens it itself."""

    path: Path
    numbers: Sequence[int]


def _copy(
    beton: Beton,
    path: Path,
    numbers: NDArray[np.int64],
    labels: NDArray[np.int64],
    workers: int,
    advance: Callable[[int], None],
) -> NDArray[np.void]:
    parts = (
        _Part(beton, numbers[i : i + CHUNK].tolist(), labels[i : i + CHUNK].tolist())
        for i in range(0, len(numbers), CHUNK)
    )
    with BetonWriter(path, len(numbers)) as copy, threads(workers) as pool:
        for part, images in pool.in_order(_read, parts):
            for label, (image, sha256) in zip(part.labels, images, strict=True):
                copy.add(label, image, sha256)
            advance(len(part.numbers))
        return copy.finish()


def _read(part: _Part) -> list[tuple[Encoded, bytes]]:
    images = [part.beton.image(number) for number in part.numbers]
    return [(image, image.sha256) for image in images]


def _measure(path: Path, count: int) -> Colours:
    with Beton(path) as beton:
        numbers = range(0, beton.samples, every(beton.samples))
    tasks = (_Range(path, numbers[i : i + CHUNK]) for i in range(0, len(numbers), CHUNK))
    colours = Colours.none()
    with processes(count) as pool:
        for _, more in pool.in_order(_colours, tasks):
            colours = colours.plus(more)
    return colours


def _colours(part: _Range) -> Colours:
    with Beton(part.path) as beton:
        return functools.reduce(Colours.plus, (Colours.of(beton.image(number)) for number in part.numbers))


def _about(parent: Manifest, plan: Plan, metric: Metric | None) -> About:
    extras = {"per_class": plan.per_class, "label_noise": plan.label_noise or None, "merge_depth": plan.merge_depth}
    note: dict[str, Any] = {key: value for key, value in extras.items() if value is not None}
    if plan.seed is not None:
        note["draw"] = plan.draw
    chosen = tuple(parent.classes[label] for label in plan.chosen)
    return About(
        plan.classes,
        plan.class_names,
        title=parent.title,
        source=parent.source,
        metric=metric or (parent.metric if len(plan.classes) > TOP5_ABOVE else "top1"),
        split_rule=parent.split_rule,
        parent=Parent(name=parent.name, content_hash=parent.content_hash, seed=plan.seed, classes=chosen, note=note),
    )
