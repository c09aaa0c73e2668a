"""Writes a dataset folder: one ``.beton`` a split, ``dataset.json``, and a contact sheet, all of it or nothing.

Worker processes read, decode, shrink and encode; this process lays the results down in the order of the samples, so
that the bytes do not depend on the number of workers. A sample that cannot be used is left out and listed, up to a
limit. Everything happens in a folder with a temporary name, which gets its own name when all of it was read back.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.beton import Beton, BetonWriter, Encoded, content_hash
from data_prep.contents import Sample, read
from data_prep.folder import new_folder
from data_prep.images import BadImage, decode, encode, histogram
from data_prep.progress import progress
from data_prep.sheet import contact_sheet
from data_prep.workers import Workers, available_cores
from data_prep.workers import workers as open_workers
from toolkit.errors import ToolkitError, UsageError
from toolkit.study.dataset import MANIFEST, Encoding, Manifest, Metric, Parent, Skipped, Split

CHUNK = 32
"""Samples a worker is handed at a time."""
MEASURED = 2_000
"""Mean and standard deviation are taken over this many training images, evenly spread, to twice as many."""
AS_IT_IS = Encoding()
"""JPEG, at the source's size."""
GOLDEN = 0.618033988749895


@dataclass(frozen=True)
class About:
    """What a manifest says of a dataset beyond what its files show; see `Manifest` for each field."""

    classes: Sequence[str]
    class_names: Sequence[str] = ()
    title: str = ""
    source: str = ""
    metric: Metric = "top1"
    split_rule: str = ""
    parent: Parent | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


class Colours(NamedTuple):
    """How often each channel (R, G, B) takes each value, (3, 256), over ``images`` images."""

    counts: NDArray[np.int64]
    images: int

    @classmethod
    def none(cls) -> "Colours":
        """Of no image."""
        return cls(np.zeros((3, 256), np.int64), 0)

    @classmethod
    def of(cls, image: Encoded) -> "Colours":
        """Of one image."""
        return cls(histogram(decode(image)), 1)

    def plus(self, other: "Colours") -> "Colours":
        """Of these images and others."""
        return Colours(self.counts + other.counts, self.images + other.images)

    def moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation by channel, over all pixels, values in 0..1."""
        values = np.arange(256) / 255
        weights = self.counts / self.counts.sum(1, keepdims=True)
        mean = weights @ values
        std = np.sqrt(weights @ values**2 - mean**2)
        return tuple(mean.round(6).tolist()), tuple(std.round(6).tolist())


def write_dataset(
    path: Path,
    splits: Mapping[str, Sequence[Sample]],
    about: About,
    encoding: Encoding = AS_IT_IS,
    *,
    workers: int | None = None,
    max_bad: int | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Write the dataset folder ``path`` from samples by split (train, val) and return its manifest.

    ``Sample(key, label, content)``: ``content`` is an image file's bytes, a path, RGB pixels (height, width, 3) in
    uint8, or anything with ``read() -> bytes`` (`data_prep.contents` has files and tar members); it is pickled to a
    worker and read there. ``workers`` defaults to the cores this process may use. At most ``max_bad`` samples are
    left out, by default one in a thousand.

    Raises `UsageError` when ``path`` is there already (unless ``overwrite``) or a split is empty, and `ToolkitError`
    when too many images are bad, a worker dies or the disk is full; ``path`` is then as it was.
    """
    for name, samples in splits.items():
        if not samples:
            raise UsageError(f"split {name} of {path.name} has no images")
    total = sum(map(len, splits.values()))
    with (
        new_folder(path, overwrite) as folder,
        open_workers(workers or available_cores()) as pool,
        progress(path.name, total) as advance,
    ):
        run = _Run(pool, encoding, total // 1000 if max_bad is None else max_bad, advance)
        records = {name: run.write(folder / f"{name}.beton", samples) for name, samples in splits.items()}
        return finish_dataset(folder, path.name, about, encoding, records, run.colours, run.skipped)


def finish_dataset(
    folder: Path,
    name: str,
    about: About,
    encoding: Encoding,
    records: Mapping[str, NDArray[np.void]],
    colours: Colours,
    skipped: Sequence[Skipped] = (),
) -> Manifest:
    """Read the splits back, compare them with ``records`` (`CONTENT`, by split), add contact sheet and manifest.

    Raises `ToolkitError` when a file does not hold what was meant to be in it.
    """
    splits = {split: _read_back(folder / f"{split}.beton", of, len(about.classes)) for split, of in records.items()}
    mean, std = colours.moments()
    manifest = Manifest(
        name=name,
        title=about.title,
        source=about.source,
        classes=tuple(about.classes),
        class_names=tuple(about.class_names),
        splits=splits,
        encoding=encoding,
        image_size=(_largest(records, "height"), _largest(records, "width")),
        mean=mean,
        std=std,
        mean_over=colours.images,
        metric=about.metric,
        content_hash=content_hash(records),
        skipped=tuple(skipped),
        split_rule=about.split_rule,
        parent=about.parent,
        provenance=dict(about.provenance),
    )
    contact_sheet(folder, manifest).save(folder / "contact-sheet.png")
    manifest.write(folder / MANIFEST)
    return manifest


def every(samples: int) -> int:
    """The step at which the samples lie that mean and standard deviation are measured on."""
    return max(1, samples // MEASURED)


class _Written(NamedTuple):
    """A sample as a worker hands it back."""

    label: int
    image: Encoded
    sha256: bytes
    colours: Colours | None


class _Task(NamedTuple):
    """What a worker is handed: consecutive samples of a split, from number ``first`` on."""

    first: int
    samples: list[Sample]
    encoding: Encoding
    measure_every: int
    """Every so many samples, one is measured; 0: none."""

    def __str__(self) -> str:
        return printable(self.samples[0].key)


class _Run:
    """The state of one writing: what was skipped and measured so far."""

    def __init__(self, pool: Workers, encoding: Encoding, max_bad: int, advance: Callable[[int], None]) -> None:
        self.pool, self.encoding, self.max_bad, self.advance = pool, encoding, max_bad, advance
        self.skipped: list[Skipped] = []
        self.colours = Colours.none()

    def write(self, path: Path, samples: Sequence[Sample]) -> NDArray[np.void]:
        """Write one split; returns its `CONTENT` records."""
        measure_every = every(len(samples)) if path.stem == "train" else 0
        tasks = (
            _Task(
                first,
                [samples[i] for i in range(first, min(first + CHUNK, len(samples)))],
                self.encoding,
                measure_every,
            )
            for first in range(0, len(samples), CHUNK)
        )
        with BetonWriter(path, len(samples)) as beton:
            for task, outcomes in self.pool.in_order(_encode, tasks):
                for outcome in outcomes:
                    self._take(beton, outcome)
                self.advance(len(task.samples))
            if not beton.samples:
                raise ToolkitError(f"none of the {len(samples)} images of split {path.stem} can be used")
            return beton.finish()

    def _take(self, beton: BetonWriter, outcome: _Written | Skipped) -> None:
        if isinstance(outcome, Skipped):
            self._skip(outcome)
            return
        beton.add(outcome.label, outcome.image, outcome.sha256)
        if outcome.colours is not None:
            self.colours = self.colours.plus(outcome.colours)

    def _skip(self, bad: Skipped) -> None:
        self.skipped.append(bad)
        if len(self.skipped) > self.max_bad:
            raise ToolkitError(
                f"{len(self.skipped)} bad images, at most {self.max_bad} may be left out (--max-bad); "
                f"the last is {bad.source}: {bad.reason}"
            )


def _encode(task: _Task) -> list[_Written | Skipped]:
    return [_encode_one(sample, number, task) for number, sample in enumerate(task.samples, task.first)]


def _encode_one(sample: Sample, number: int, task: _Task) -> _Written | Skipped:
    try:
        image = encode(read(sample.content), task.encoding, _raw(number, task.encoding))
        measured = task.measure_every and number % task.measure_every == 0
        return _Written(sample.label, image, image.sha256, Colours.of(image) if measured else None)
    except BadImage as reason:
        return Skipped(source=printable(sample.key), reason=str(reason))
    except Exception as error:  # a decoder may raise anything on a damaged file, and no image may end the run
        return Skipped(source=printable(sample.key), reason=f"{type(error).__name__}: {error}")


def _raw(number: int, encoding: Encoding) -> bool:
    """Whether sample ``number`` of a split is among the share stored raw: spread evenly, the same in every run."""
    return encoding.write_mode == "proportion" and number * GOLDEN % 1 < (encoding.raw_proportion or 0)


def printable(name: str) -> str:
    """A file's name as text, whatever bytes are in it."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _read_back(path: Path, records: NDArray[np.void], classes: int) -> Split:
    with Beton(path) as beton:
        if not np.array_equal(beton.content(threads=available_cores()), records):
            raise ToolkitError(f"{path} does not read back as it was written: the disk or the memory is at fault")
        counts = np.bincount(beton.labels, minlength=classes)
        return Split(file=path.name, bytes=beton.bytes, samples=beton.samples, class_counts=tuple(counts.tolist()))


def _largest(records: Mapping[str, NDArray[np.void]], side: str) -> int:
    return max(int(of[side].max()) for of in records.values())
