"""Copies the samples of a subset out of its parent's files: encoded bytes as they are, labels as the plan says."""

import hashlib
import itertools
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.beton import PAGE_SIZE, Beton, BetonWriter, put
from data_prep.folder import new_folder
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
                _copy(parents[name], betons[name], numbers, labels, workers, advance)
            colours = _measure(parents["train"], taken["train"][0], workers)
            about = _about(parent.manifest, plan, metric)
            return finish_dataset(folder, path.name, about, parent.manifest.encoding, betons, colours)


class _Page(NamedTuple):
    """Consecutive samples of the copy that lie within one page."""

    parent: Beton
    path: Path
    samples: slice
    pointers: NDArray[np.int64]
    """Where the parent has them."""
    sizes: NDArray[np.int64]
    position: int
    """Where the first one goes."""


def _copy(
    parent: Beton,
    copy: BetonWriter,
    numbers: NDArray[np.int64],
    labels: NDArray[np.int64],
    workers: int,
    advance: Callable[[int], None],
) -> None:
    content = parent.records(numbers)
    content["label"] = labels
    pointers, sizes = (parent.allocations[name][numbers].astype(np.int64) for name in ("ptr", "size"))
    positions = copy.add(content, sizes)
    starts = np.flatnonzero(np.diff(positions // PAGE_SIZE, prepend=-1, append=-1)).tolist()
    pages = (
        _Page(parent, copy.path, slice(i, j), pointers[i:j], sizes[i:j], int(positions[i]))
        for i, j in itertools.pairwise(starts)
    )
    for page, digests in in_threads(_copy_page, pages, workers):
        copy.content["sha256"][page.samples] = np.frombuffer(digests, np.uint8).reshape(-1, 32)
        copy.flush()
        advance(len(page.sizes))


def _copy_page(page: _Page) -> bytes:
    """Copy it, compare it with the parent, and return the digests of its images, one after another."""
    ends = np.cumsum(page.sizes)
    images = bytearray(int(ends[-1]))
    view = memoryview(images)
    gaps = np.flatnonzero(page.pointers[1:] != page.pointers[:-1] + page.sizes[:-1]) + 1
    for first, after in itertools.pairwise([0, *gaps.tolist(), len(ends)]):
        page.parent.read_into(view[ends[first] - page.sizes[first] : ends[after - 1]], int(page.pointers[first]))
    put(page.path, [images], [page.position])
    bounds = itertools.pairwise([0, *ends.tolist()])
    return b"".join(hashlib.sha256(view[start:end]).digest() for start, end in bounds)


def _measure(parent: Beton, numbers: NDArray[np.int64], workers: int) -> Colours:
    colours = Colours.none()
    measured = numbers[:: every(len(numbers))].tolist()
    for _, of_image in in_threads(lambda number: Colours.of(parent.image(number)), measured, workers):
        colours = colours.plus(of_image)
    return colours


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
