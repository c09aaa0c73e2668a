"""Copies the samples of a subset out of its parent's files: encoded bytes as they are, labels as the plan says."""

import itertools
import mmap
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.subsets.subset_spec import Plan, take
from data_prep.writing.dataset import ChannelStats, DatasetInfo, every, finish_dataset, tolerated
from data_prep.writing.process_pool import available_cores, in_threads
from data_prep.writing.progress import progress
from data_prep.writing.staging import new_folder
from toolkit.errors import UsageError
from toolkit.imagefile.digests import written
from toolkit.imagefile.format import PAGE_SIZE, BadImage, broken, digest
from toolkit.imagefile.images import decode
from toolkit.imagefile.reader import Beton
from toolkit.imagefile.writer import BetonWriter
from toolkit.study.dataset import Dataset, Manifest, Metric, Parent

PIECE = 1 << 20
"""Bytes that are read, written and read back at a time: as many as stay in a core's cache meanwhile."""
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
    with ExitStack() as files:
        parents = {
            name: files.enter_context(Beton.open(parent.beton(name), "layout")) for name in parent.manifest.splits
        }
        taken = {name: take(beton.labels, plan, name == "train") for name, beton in parents.items()}
        for name, (numbers, _) in taken.items():
            if not len(numbers):
                raise UsageError(f"split {name} of {parent.manifest.name} has no image of these classes")
        total = sum(len(numbers) for numbers, _ in taken.values())
        records, colours = written(parents, parent.manifest), ChannelStats.none()
        with new_folder(path, overwrite) as folder, progress(path.name, total) as advance:
            betons = {
                name: files.enter_context(BetonWriter(folder / f"{name}.beton", len(numbers)))
                for name, (numbers, _) in taken.items()
            }
            for name, beton in betons.items():
                copier = _Copier(parents[name], beton, records[name], measures=name == "train")
                colours += copier.copy(*taken[name], workers or available_cores(), advance)
            about = _about(parent.manifest, plan, metric)
            return finish_dataset(folder, path.name, about, parent.manifest.encoding, betons, colours, tolerated(total))


class _Part(NamedTuple):
    """Some samples of the parent, where their images go, and which of them are measured."""

    numbers: NDArray[np.int64]
    positions: NDArray[np.int64]
    measured: NDArray[np.int64]


class _Room(threading.local):
    """Memory for two pages in each thread, used again and again: fresh memory would cost more than the copy.

    It begins where a page of memory does. Some processors copy at a quarter of their speed to a place that is a few
    bytes further into its page of memory than the source is into its own (Zen 3: 1.3 instead of 5 GB/s).
    """

    def __init__(self) -> None:
        self.images, self.copied = (memoryview(mmap.mmap(-1, PAGE_SIZE)) for _ in range(2))


class _Copier:
    """Copies images of one file to another; each is compared with the parent's afterwards."""

    def __init__(self, parent: Beton, child: BetonWriter, written: NDArray[np.void], measures: bool) -> None:
        """``written``: what the parent's samples were when it was written; ``measures``: whether colours are wanted."""
        self.parent, self.child, self.written, self.measures = parent, child, written, measures
        self.room = _Room()

    def copy(
        self, numbers: NDArray[np.int64], labels: NDArray[np.int64], threads: int, advance: Callable[[int], None]
    ) -> ChannelStats:
        """Copy these samples, in ascending order, under other labels; the colours of some of them, evenly spread."""
        colours = ChannelStats.none()
        for part, of_some in in_threads(self._copy, self._parts(numbers, labels), threads):
            colours += of_some
            self.child.flush()
            advance(len(part.numbers))
        return colours

    def _parts(self, numbers: NDArray[np.int64], labels: NDArray[np.int64]) -> Iterator[_Part]:
        """DatasetInfo a page of samples at a time, after the child's tables have them."""
        content, sizes = self.written[numbers], self.parent.sizes[numbers]
        content["label"] = labels
        step = every(len(numbers))
        for first, after in _stretches(np.cumsum(sizes) // PAGE_SIZE):
            some = numbers[first:after]
            measured = some[-first % step :: step] if self.measures else some[:0]
            yield _Part(some, self.child.add(content[first:after], sizes[first:after]), measured)

    def _copy(self, part: _Part) -> ChannelStats:
        for first, after in _stretches(part.positions // PIECE):
            images = self.parent.gather(part.numbers[first:after], self.room.images)
            self.child.put(images, int(part.positions[first]), self.room.copied)
        return sum(map(self._colours, part.measured.tolist()), ChannelStats.none())

    def _colours(self, number: int) -> ChannelStats:
        image = self.parent.image(number)
        if digest(image.data) != self.written["digest"][number].tobytes():  # costs little beside the decoding
            raise broken(self.parent.path, f"the image of sample {number} is not the one that was written")
        try:
            return ChannelStats.of(decode(image))
        except BadImage as reason:
            raise broken(self.parent.path, f"sample {number} cannot be decoded ({reason})") from reason


def _stretches(values: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """The (first, after) of every stretch of equal values; none is negative."""
    return itertools.pairwise(np.flatnonzero(np.diff(values, prepend=-1, append=-1)).tolist())


def _about(parent: Manifest, plan: Plan, metric: Metric | None) -> DatasetInfo:
    extras = {"per_class": plan.per_class, "label_noise": plan.label_noise or None, "merge_depth": plan.merge_depth}
    note: dict[str, Any] = {key: value for key, value in extras.items() if value is not None}
    if plan.seed is not None:
        note["draw"] = plan.draw
    chosen = tuple(parent.classes[label] for label in plan.chosen)
    return DatasetInfo(
        plan.classes,
        plan.class_names,
        title=parent.title,
        source=parent.source,
        metric=metric or (parent.metric if len(plan.classes) > TOP5_ABOVE else "top1"),
        split_rule=parent.split_rule,
        parent=Parent(name=parent.name, content_hash=parent.content_hash, seed=plan.seed, classes=chosen, note=note),
    )
