"""Copies the samples of a subset out of its parent's files: encoded bytes as they are, labels as the plan says."""

import itertools
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.beton import PAGE_SIZE, Beton, BetonWriter, Portion, broken, digests, put
from data_prep.folder import new_folder
from data_prep.images import BadImage, glance
from data_prep.plans import Plan, take
from data_prep.progress import progress
from data_prep.workers import available_cores, in_threads
from data_prep.writer import About, Colours, every, finish_dataset
from toolkit.errors import UsageError
from toolkit.study.dataset import Dataset, Manifest, Metric, Parent

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
    with ExitStack() as files:
        parents = {name: files.enter_context(Beton(parent.beton(name))) for name in parent.manifest.splits}
        taken = {name: take(beton.labels, plan, name == "train") for name, beton in parents.items()}
        for name, (numbers, _) in taken.items():
            if not len(numbers):
                raise UsageError(f"split {name} of {parent.manifest.name} has no image of these classes")
        total = sum(len(numbers) for numbers, _ in taken.values())
        with new_folder(path, overwrite) as folder, progress(path.name, total) as advance:
            betons = {
                name: files.enter_context(BetonWriter(folder / f"{name}.beton", len(numbers)))
                for name, (numbers, _) in taken.items()
            }
            for name, (numbers, labels) in taken.items():
                _copy(parents[name], betons[name], numbers, labels, max(1, workers - 1), advance)
            colours = _measure(parents["train"], taken["train"][0], workers)
            about = _about(parent.manifest, plan, metric)
            return finish_dataset(folder, path.name, about, parent.manifest.encoding, betons, colours)


def _copy(
    parent: Beton,
    copy: BetonWriter,
    numbers: NDArray[np.int64],
    labels: NDArray[np.int64],
    threads: int,
    advance: Callable[[int], None],
) -> None:
    """Copy the images page by page, each page compared with the parent's images afterwards.

    Threads read and hash, this one writes: a file takes one write at a time, and threads that waited for each other
    there, and for the interpreter after each hash, were slower.
    """
    content, samples = parent.records(numbers), parent.portion(numbers)
    content["label"] = labels
    positions = copy.add(content, samples.sizes)
    starts = np.flatnonzero(np.diff(positions // PAGE_SIZE, prepend=-1, append=-1)).tolist()
    pages = (samples.part(first, after) for first, after in itertools.pairwise(starts))
    done = 0
    for _, (images, of_images) in in_threads(_read, pages, threads):
        put(copy.path, [images], [int(positions[done])])
        copy.content["digest"][done : done + len(of_images)] = of_images
        done += len(of_images)
        copy.flush()
        advance(len(of_images))


def _read(samples: Portion) -> tuple[bytearray, NDArray[np.uint8]]:
    """The images, one after another, and their digests."""
    images, bounds = samples.read()
    view = memoryview(images)
    return images, digests(view[start:end] for start, end in itertools.pairwise(bounds))


def _measure(parent: Beton, numbers: NDArray[np.int64], threads: int) -> Colours:
    def of(number: int) -> Colours:
        try:
            return Colours.of(glance(parent.image(number)))
        except BadImage as reason:
            raise broken(parent.path, f"sample {number} cannot be decoded ({reason})") from reason

    measured = numbers[:: every(len(numbers))].tolist()
    with warnings.catch_warnings(action="ignore"):  # an image that the parent has was let through
        return sum((colours for _, colours in in_threads(of, measured, threads)), Colours.none())


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
