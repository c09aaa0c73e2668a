"""What can be wrong with a dataset folder, and finding it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.writing.dataset import ChannelStats, every
from data_prep.writing.process_pool import available_cores
from data_prep.writing.process_pool import workers as processes
from toolkit.errors import ToolkitError
from toolkit.imagefile.crops import Decoder
from toolkit.imagefile.digests import as_recorded
from toolkit.imagefile.format import JPG, BadImage, Encoded, content_hash
from toolkit.imagefile.images import decode
from toolkit.imagefile.jpeg.headers import DamagedImage
from toolkit.imagefile.reader import Beton, Portion
from toolkit.study.dataset import MANIFEST, Manifest, Split

CHUNK = 64
"""Images a worker decodes at a time."""
LISTED = 10
"""Changed samples that are named; the others are counted."""
ROUNDING, OTHER_SAMPLE = 0.001, 0.03
"""What mean and deviation may differ by from those measured anew (our choice): on the same images, a quarter of a grey
level, for decoders differ by less; on others, five standard errors of the mean over 1,000 photographs."""


class _Range(NamedTuple):
    numbers: Sequence[int]
    samples: Portion

    def __str__(self) -> str:
        return f"sample {self.numbers[0]} of {self.samples.path}"


def verify(folder: Path, decode: int | None = None, workers: int | None = None) -> list[str]:
    """All that is wrong with the dataset in ``folder``; an empty list when nothing is.

    ``decode``: how many images of each split to decode, evenly spread; None: all, and mean and deviation are measured
    again; 0: none. Raises `ToolkitError` when there is no readable manifest.
    """
    manifest = Manifest.read(folder / MANIFEST)
    problems: list[str] = []
    records: dict[str, NDArray[np.void]] = {}
    for name, split in manifest.splits.items():
        try:
            records[name] = _check_split(folder / split.file, split, decode, workers, problems)
        except ToolkitError as error:
            problems.append(str(error))
    if len(records) == len(manifest.splits):
        problems += _changes(folder, manifest, records)
    if decode is None and not problems:
        problems += _other_moments(folder, manifest, workers or available_cores())
    return problems


def _other_moments(folder: Path, manifest: Manifest, count: int) -> Iterator[str]:
    """Where mean and deviation are not those of the training images that the writer measured them on.

    Of a large set of which images were left out, it cannot be known which they were: then on as many others.
    """
    with Beton.open(folder / manifest.splits["train"].file, "layout") as beton, processes(count) as pool:
        step = every(beton.samples)
        numbers = np.arange(0, beton.samples, step)
        chunks = (numbers[i : i + CHUNK] for i in range(0, len(numbers), CHUNK))
        tasks = (_Range(chunk.tolist(), beton.portion(chunk)) for chunk in chunks)
        colours = sum((measured for _, measured in pool.in_order(_measure, tasks)), ChannelStats.none())
    allowed = OTHER_SAMPLE if manifest.skipped and step > 1 else ROUNDING
    for name, now in zip(("mean", "std"), colours.moments(), strict=True):
        then = getattr(manifest, name)
        if np.abs(np.subtract(now, then)).max() > allowed:
            yield f"{folder}: {name} of the training images is {now}, {MANIFEST} says {then}"


def _measure(task: _Range) -> ChannelStats:
    return sum((ChannelStats.of(decode(image)) for image in task.samples.images()), ChannelStats.none())


def _changes(folder: Path, manifest: Manifest, found: Mapping[str, NDArray[np.void]]) -> Iterator[str]:
    """Where what was found is not what was written, by the digests of then if these are."""
    recorded: dict[str, NDArray[np.void]] = {}
    try:
        recorded = {name: as_recorded(folder / manifest.splits[name].file, of) for name, of in found.items()}
    except ToolkitError as error:
        yield str(error)
    if content_hash(found) == manifest.content_hash:
        if recorded and content_hash(recorded) != manifest.content_hash:
            yield f"{folder}: the .digests files are not as they were written (the images are): copy them again"
    elif recorded and content_hash(recorded) == manifest.content_hash:
        for name, records in recorded.items():
            changed = np.flatnonzero((records["digest"] != found[name]["digest"]).any(1))
            if len(changed):
                numbers = ", ".join(map(str, changed[:LISTED])) + (", ..." if len(changed) > LISTED else "")
                path = folder / manifest.splits[name].file
                share = f"{len(changed)} of {len(records)}"
                yield f"{path}: images have changed since they were written, {share}: samples {numbers}"
    else:
        yield f"{folder}: images or labels are not those that were written (the content hash differs)"


def _check_split(
    path: Path, split: Split, decode: int | None, workers: int | None, problems: list[str]
) -> NDArray[np.void]:
    workers = workers or available_cores()
    with Beton.open(path, "layout") as beton:
        problems += (f"{path}: {problem}" for problem in _differences(beton, split))
        problems += (f"{path}: {problem}" for problem in _undecodable(beton, decode, workers))
        return beton.content(threads=workers)


def _differences(beton: Beton, split: Split) -> Iterator[str]:
    """Where the file is not what the manifest says, or holds bytes where none belong."""
    if beton.bytes != split.bytes:
        yield f"has {beton.bytes} bytes, the manifest says {split.bytes}"
    classes = len(split.class_counts)
    if beton.labels.min() < 0 or beton.labels.max() >= classes:
        yield f"has labels {beton.labels.min()} to {beton.labels.max()}, there are {classes} classes"
    elif tuple(np.bincount(beton.labels, minlength=classes).tolist()) != split.class_counts:
        yield "has other counts by class than the manifest"
    for start, end in beton.gaps():
        if beton.read(start, end).count(0) != end - start:
            yield f"is not zero between bytes {start} and {end}, where nothing belongs"


def _undecodable(beton: Beton, decode: int | None, count: int) -> Iterator[str]:
    numbers = np.arange(beton.samples)
    if decode is not None:
        numbers = numbers[np.unique(np.linspace(0, beton.samples - 1, min(decode, beton.samples)).astype(int))]
    chunks = (numbers[i : i + CHUNK] for i in range(0, len(numbers), CHUNK))
    tasks = (_Range(chunk.tolist(), beton.portion(chunk)) for chunk in chunks)
    with processes(count) as pool:
        for _, problems in pool.in_order(_decode, tasks):
            yield from problems


def _decode(task: _Range) -> list[str]:
    problems, decoder = [], Decoder()
    for number, image in zip(task.numbers, task.samples.images(), strict=True):
        try:
            decode(image)
            _decode_as_training_does(decoder, image)
        except (BadImage, DamagedImage) as reason:
            problems.append(f"sample {number}: {reason}")
    return problems


def _decode_as_training_does(decoder: Decoder, image: Encoded) -> None:
    """Decode a JPEG with the training loader's decoder: its upper half, and the whole at an eighth.

    Raises `DamagedImage` when the loader would refuse it.
    """
    if image.mode == JPG:
        data = np.frombuffer(image.data, np.uint8)
        decoder.jpeg(data, image.height, image.width, bottom=image.height // 2)
        decoder.jpeg(data, image.height, image.width, shrink=8)
