"""Writes a dataset folder: one ``.beton`` a split, ``dataset.json``, and a contact sheet, all of it or nothing.

Worker processes read, decode, shrink and encode; this process says where in the file each result goes, in the order
of the samples, so that the bytes do not depend on the number of workers; the worker that has it writes it there and
reads it back. A sample that cannot be used is left out and listed, up to a limit. Everything happens in a folder with
a temporary name, whose files get their headers, and then itself its name, when all else is on the disk.
"""

import itertools
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.storage.samples import Sample, read
from data_prep.writing.contact_sheet import contact_sheet
from data_prep.writing.process_pool import Workers, available_cores
from data_prep.writing.process_pool import workers as open_workers
from data_prep.writing.progress import progress
from data_prep.writing.staging import new_folder
from toolkit.cli import say
from toolkit.errors import ToolkitError, UsageError
from toolkit.imagefile.digests import write_digests
from toolkit.imagefile.format import BadImage, Encoded, Pixels, content_hash, content_of
from toolkit.imagefile.images import decode, encode, fitting, sums
from toolkit.imagefile.reader import Beton
from toolkit.imagefile.writer import BetonWriter, put
from toolkit.study.dataset import MANIFEST, Encoding, Manifest, Metric, Parent, Skipped, Split

CHUNK, FIRST, SHARES = 128, 8, 16
"""Samples a worker is handed at a time, at most and to begin with, and how many tasks each should have at least."""
TOGETHER = 1 << 20
"""Bytes of files, and the rest of one, that a worker reads before it looks at them."""
MEASURED = 1_000
"""Mean and standard deviation are taken over this many training images, evenly spread, to twice as many."""
AS_IT_IS = Encoding()
"""JPEG, at the source's size."""
FEW, ENOUGH = 10, 1_000
"""Bad images that a small dataset may have unasked, and those above the limit after which a run looks no further."""
DARK = 14
"""Bits of 16-bit grey at which a run wonders whether there are any more: scanners and cameras have 10 to 14."""
GOLDEN = 0.618033988749895


@dataclass(frozen=True)
class DatasetInfo:
    """What a manifest says of a dataset beyond what its files show; see `Manifest` for each field."""

    classes: Sequence[str]
    class_names: Sequence[str] = ()
    title: str = ""
    source: str = ""
    metric: Metric = "top1"
    split_rule: str = ""
    parent: Parent | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ChannelStats:
    """Sums over the values (0..255) of each channel (R, G, B), and over their squares, of all pixels of some images."""

    sums: NDArray[np.int64]
    squares: NDArray[np.int64]
    pixels: int
    images: int

    @classmethod
    def none(cls) -> "ChannelStats":
        """Of no image."""
        return cls(np.zeros(3, np.int64), np.zeros(3, np.int64), 0, 0)

    @classmethod
    def of(cls, pixels: Pixels) -> "ChannelStats":
        """Of one image."""
        height, width, _ = pixels.shape
        return cls(*sums(pixels), height * width, 1)

    def __add__(self, other: "ChannelStats") -> "ChannelStats":
        """Of these images and others."""
        return ChannelStats(
            self.sums + other.sums,
            self.squares + other.squares,
            self.pixels + other.pixels,
            self.images + other.images,
        )

    def moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation by channel, over all pixels, values in 0..1."""
        mean = self.sums / self.pixels / 255
        std = np.sqrt(np.maximum(self.squares / self.pixels / 255**2 - mean**2, 0))  # of one colour: not less than 0
        return tuple(mean.round(6).tolist()), tuple(std.round(6).tolist())


def write_dataset(
    path: Path,
    splits: Mapping[str, Sequence[Sample]],
    about: DatasetInfo,
    encoding: Encoding = AS_IT_IS,
    *,
    workers: int | None = None,
    max_bad: int | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Write the dataset folder ``path`` from samples by split (train, val) and return its manifest.

    ``Sample(key, label, content)``: ``content`` is an image file's bytes, a path, RGB pixels (height, width, 3) in
    uint8, or anything with ``read() -> bytes`` (`data_prep.storage.samples` has files and tar members); it is
    pickled to a worker and read there. ``workers`` defaults to the cores this process may use. At most ``max_bad``
    samples are left out, by default one in 1,000, or one in 20 up to `FEW`.

    Raises `UsageError` when ``path`` is there already (unless ``overwrite``) or a split is empty, and `ToolkitError`
    when too many images are bad, a worker dies or the disk is full; ``path`` is then as it was.
    """
    for name, samples in splits.items():
        if not samples:
            raise UsageError(f"split {name} of {path.name} has no images")
    total = sum(map(len, splits.values()))
    with (
        ExitStack() as files,
        new_folder(path, overwrite) as folder,
        open_workers(workers or available_cores()) as pool,
        progress(path.name, total) as advance,
    ):
        betons = {
            name: files.enter_context(BetonWriter(folder / f"{name}.beton", len(of))) for name, of in splits.items()
        }
        run = _Run(pool, encoding, tolerated(total) if max_bad is None else max_bad, advance)
        for name, samples in splits.items():
            run.write(betons[name], samples)
        run.check()
        run.wonder()
        return finish_dataset(folder, path.name, about, encoding, betons, run.colours, run.max_bad, run.skipped)


def finish_dataset(
    folder: Path,
    name: str,
    about: DatasetInfo,
    encoding: Encoding,
    betons: Mapping[str, BetonWriter],
    colours: ChannelStats,
    max_bad: int,
    skipped: Sequence[Skipped] = (),
) -> Manifest:
    """Finish the files, add contact sheet and manifest, and seal the files last.

    Raises `ToolkitError` when a file does not hold what was meant to be in it.
    """
    for beton in betons.values():
        beton.finish()
        write_digests(beton)
    mean, std = colours.moments()
    manifest = Manifest(
        name=name,
        title=about.title,
        source=about.source,
        classes=tuple(about.classes),
        class_names=tuple(about.class_names),
        splits={split: _split(beton, len(about.classes)) for split, beton in betons.items()},
        encoding=encoding,
        image_size=(_largest(betons, "height"), _largest(betons, "width")),
        mean=mean,
        std=std,
        mean_over=colours.images,
        metric=about.metric,
        content_hash=content_hash({split: beton.content for split, beton in betons.items()}),
        skipped=tuple(skipped),
        max_bad=max_bad,
        split_rule=about.split_rule,
        parent=about.parent,
        provenance=dict(about.provenance),
    ).sealed()
    first = next(iter(betons.values()))
    with Beton.open(first.path, "layout", first.header) as written:
        contact_sheet(written, manifest).save(folder / "contact-sheet.png", compress_level=1)
    manifest.write(folder / MANIFEST)
    for unsealed in betons.values():
        unsealed.seal()
    return manifest


def tolerated(samples: int) -> int:
    """Bad images that may be left out of so many where nobody says how many."""
    return max(samples // 1000, min(samples // 20, FEW))


def every(samples: int) -> int:
    """The step at which the samples lie that mean and standard deviation are measured on."""
    return max(1, samples // MEASURED)


def _bounds(samples: int, workers: int) -> Iterator[int]:
    """Where tasks begin, and the last one ends: small ones first, so that progress shows at once."""
    most = max(1, min(CHUNK, samples // (SHARES * workers)))
    first, size = 0, min(FIRST, most)
    while first < samples:
        yield first
        first, size = first + size, min(2 * size, most)
    yield samples


class _Task(NamedTuple):
    """What a worker is handed: consecutive samples of a split, from number ``first`` on."""

    first: int
    samples: Sequence[Sample]
    encoding: Encoding
    measure_every: int
    """Every so many samples, one is measured; 0: none."""

    def __str__(self) -> str:
        return printable(self.samples[0].key)


class _Made(NamedTuple):
    """What a worker tells of a task's samples; their bytes it keeps."""

    content: NDArray[np.void]
    sizes: NDArray[np.int64]
    skipped: Sequence[Skipped]
    colours: ChannelStats
    grey_bits: Sequence[int]
    """`Encoded.grey_bits` of those that have any."""


class _Places(NamedTuple):
    """Where in a file the bytes of a task go."""

    path: Path
    positions: Sequence[int]


class _Run:
    """The state of one writing: what was skipped and measured so far."""

    def __init__(self, pool: Workers, encoding: Encoding, max_bad: int, advance: Callable[[int], None]) -> None:
        self.pool, self.encoding, self.max_bad, self.advance = pool, encoding, max_bad, advance
        self.skipped: list[Skipped] = []
        self.grey_bits: Counter[int] = Counter()
        self.colours = ChannelStats.none()

    def write(self, beton: BetonWriter, samples: Sequence[Sample]) -> None:
        """Write one split."""
        split = beton.path.stem
        measure_every = every(len(samples)) if split == "train" else 0
        tasks = (
            _Task(first, samples[first:after], self.encoding, measure_every)
            for first, after in itertools.pairwise(_bounds(len(samples), len(self.pool)))
        )
        for task, made in self.pool.in_order(_encode, tasks):
            positions = beton.add(made.content, made.sizes)
            self.pool.follow_up(_put, _Places(beton.path, positions.tolist()))
            self._note(made)
            beton.flush()
            self.advance(len(task.samples))
        if not beton.samples:
            self.check()
            raise ToolkitError(f"none of the {len(samples)} images of split {split} can be used")

    def _note(self, made: _Made) -> None:
        self.colours += made.colours
        self.skipped += made.skipped
        self.grey_bits.update(made.grey_bits)
        if len(self.skipped) > self.max_bad + ENOUGH:
            self.check("; gave up there")

    def check(self, more: str = "") -> None:
        """List the bad images on stderr and raise `ToolkitError` when they are too many."""
        if len(self.skipped) <= self.max_bad:
            return
        named = [" ".join(f"{bad.source}: {bad.reason}".split()) for bad in self.skipped]
        say("\n".join(f"bad: {line}" for line in named), to=sys.stderr)
        raise ToolkitError(
            f"{len(named)} bad images, at most {self.max_bad} may be left out (--max-bad){more}; "
            f"the first is {named[0]}"
        )

    def wonder(self) -> None:
        """Say on stderr that 16-bit grey uses a small part of its range, as that of many cameras and scanners does."""
        dark = {bits: count for bits, count in self.grey_bits.items() if bits <= DARK}
        if not dark or self.encoding.grey_bits < 16:
            return
        bits = max(dark)
        say(
            f"note: {sum(dark.values()):,} of {self.grey_bits.total():,} images of 16-bit grey have no value over "
            f"{(1 << bits) - 1:,} and become {max(1, 1 << bits >> 8)} levels of grey; if that is the range of all, "
            f"--grey-bits {bits} takes it for black to white",
            to=sys.stderr,
        )


_kept: deque[list[bytes]] = deque()
"""In a worker: the bytes of tasks that have no place yet, oldest first. Places are assigned in the same order."""


def _encode(task: _Task) -> _Made:
    labels, images, skipped, colours = [], [], [], ChannelStats.none()
    for number, (sample, image) in enumerate(zip(task.samples, _images(task), strict=True), task.first):
        if isinstance(image, Exception):
            skipped.append(_skipped(sample, image))
            continue
        labels.append(sample.label)
        images.append(image)
        if task.measure_every and number % task.measure_every == 0:
            colours += ChannelStats.of(decode(image))
    _kept.append([image.data for image in images])
    sizes = np.array([len(image.data) for image in images], np.int64)
    grey_bits = [image.grey_bits for image in images if image.grey_bits]
    return _Made(content_of(labels, images), sizes, skipped, colours, grey_bits)


def _images(task: _Task) -> Iterator[Encoded | Exception]:
    """Each sample's image, or why it cannot be used."""
    numbers = itertools.count(task.first)
    for contents in _together(map(_read, task.samples)):
        raw = [_raw(next(numbers), task.encoding) for _ in contents]
        files = [
            content if isinstance(content, bytes) and not is_raw else b""
            for content, is_raw in zip(contents, raw, strict=True)
        ]
        for content, is_raw, fits in zip(contents, raw, fitting(files, task.encoding), strict=True):
            yield _encode_one(content, task.encoding, is_raw, fits)


def _together(contents: Iterable[bytes | Pixels | Exception]) -> Iterator[list[bytes | Pixels | Exception]]:
    """As many at a time as `TOGETHER` allows, and at least one."""
    group: list[bytes | Pixels | Exception] = []
    size = 0
    for content in contents:
        group.append(content)
        size += len(content) if isinstance(content, bytes) else getattr(content, "nbytes", 0)
        if size >= TOGETHER:
            yield group
            group, size = [], 0
    if group:
        yield group


def _read(sample: Sample) -> bytes | Pixels | Exception:
    try:
        return read(sample.content)
    except Exception as error:  # no file may end the run
        return error


def _encode_one(
    content: bytes | Pixels | Exception, encoding: Encoding, raw: bool, fits: tuple[int, int] | None
) -> Encoded | Exception:
    if isinstance(content, Exception):
        return content
    try:
        return encode(content, encoding, raw, fits)
    except Exception as error:  # a decoder may raise anything on a damaged file, and no image may end the run
        return error


def _skipped(sample: Sample, why: Exception) -> Skipped:
    reason = str(why) if isinstance(why, BadImage) else f"{type(why).__name__}: {why}"
    return Skipped(source=printable(sample.key), reason=reason)


def _put(places: _Places) -> None:
    put(places.path, _kept.popleft(), places.positions)


def _raw(number: int, encoding: Encoding) -> bool:
    """Whether sample ``number`` of a split is stored raw: a share is spread evenly, the same in every run."""
    share = {"raw": 1.0, "proportion": encoding.raw_proportion or 0}.get(encoding.write_mode, 0)
    return number * GOLDEN % 1 < share


def printable(name: str) -> str:
    """A file's name as text, whatever bytes are in it."""
    try:
        content = os.fsencode(name)
    except UnicodeEncodeError:  # half a character, as JSON may have it
        content = name.encode("utf-8", "surrogatepass")
    return content.decode("utf-8", "backslashreplace")


def _split(beton: BetonWriter, classes: int) -> Split:
    counts = np.bincount(beton.content["label"], minlength=classes)
    size = beton.path.stat().st_size
    return Split(file=beton.path.name, bytes=size, samples=beton.samples, class_counts=tuple(counts.tolist()))


def _largest(betons: Mapping[str, BetonWriter], side: str) -> int:
    return max(int(beton.content[side].max()) for beton in betons.values())
