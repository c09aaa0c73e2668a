"""FFCV's ``.beton`` format, version 2, for one image and one label a sample: written in order, read without FFCV.

A file is a header, the field descriptors, one metadata record a sample, pages of image data, and an allocation
table. FFCV's own writer lets every worker append pages as they fill, so its bytes differ from run to run, and writes
a header that opens before any label is there. Here one process says where each sample goes, in order, and the header
comes last: a file that was cut short has zeros where readers look for the version, and opens nowhere.
"""

import ctypes
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from toolkit.errors import ToolkitError

VERSION = 2
PAGE_SIZE = 1 << 23
"""Bytes. FFCV's default; no image crosses a page, so none is larger."""
FLUSHED = 1 << 28
"""Bytes after which the disk is told to begin."""
JPG, RAW = 0, 1
Buffer = bytes | bytearray  # and no memoryview: Python compares those byte by byte

memcmp = ctypes.CDLL(None).memcmp
memcmp.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t

HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("alloc_table_ptr", "<u8"),
    ],
    align=True,
)
FIELD = np.dtype([("type_id", "<u1"), ("name", "<u1", 16), ("arguments", "<u1", 1024)], align=True)
IMAGE = np.dtype([("mode", "<u1"), ("width", "<u2"), ("height", "<u2"), ("data_ptr", "<u8")])
METADATA = np.dtype([("image", IMAGE), ("label", "<i8")], align=True)
ALLOCATION = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])
DIGEST_SIZE = 32
CONTENT = np.dtype(
    [("label", "<i8"), ("mode", "<u1"), ("width", "<u2"), ("height", "<u2"), ("digest", "<u1", DIGEST_SIZE)]
)
"""What a sample is, wherever it lies in a file: `content_hash` is taken over these records."""

FIELDS = (("image", 2), ("label", 1))  # FFCV's type ids of RGBImageField and IntField
METADATA_START = HEADER.itemsize + len(FIELDS) * FIELD.itemsize


class Encoded(NamedTuple):
    """An image as it lies in the file: JPEG or raw RGB bytes, row by row."""

    mode: int
    width: int
    height: int
    data: bytes


def digest(data: Buffer | memoryview) -> bytes:
    """BLAKE3: as strong as SHA-256, and fast on processors that have no instructions for that as well."""
    return blake3(data).digest()


def content_of(labels: Sequence[int], images: Sequence[Encoded]) -> NDArray[np.void]:
    """The `CONTENT` records, (n,), of labelled images."""
    records = np.zeros(len(images), CONTENT)
    records["label"] = labels
    for name in ("mode", "width", "height"):
        records[name] = [getattr(image, name) for image in images]
    records["digest"] = digests(image.data for image in images)
    return records


def digests(images: Iterable[Buffer | memoryview]) -> NDArray[np.uint8]:
    """The digest of each, (n, 32)."""
    return np.frombuffer(b"".join(map(digest, images)), np.uint8).reshape(-1, DIGEST_SIZE)


class Portion(NamedTuple):
    """Some samples of a file, in its order, with what another process needs to read their images."""

    path: Path
    metadata: NDArray[np.void]
    sizes: NDArray[np.int64]
    """Bytes of each image."""

    def images(self) -> Iterator[Encoded]:
        """The encoded images, one after another."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            for (image, _), size in zip(self.metadata.tolist(), self.sizes.tolist(), strict=True):
                mode, width, height, pointer = image
                yield Encoded(mode, width, height, os.pread(descriptor, size, pointer))
        finally:
            os.close(descriptor)


class BetonWriter:
    """Lays out one file: where each sample goes, the tables, and at the very end the header.

    The images themselves are written by `put`, from whatever process has them. Until `seal` no reader opens the file.
    """

    def __init__(self, path: Path, capacity: int) -> None:
        """Make ``path``, with room for ``capacity`` samples; fewer may be added."""
        self.path = path
        self._file: BinaryIO = path.open("x+b", buffering=0)
        self._metadata = np.zeros(capacity, METADATA)
        self._allocations = np.zeros(capacity, ALLOCATION)
        self._content = np.zeros(capacity, CONTENT)
        self._end = self._on_disk = _next_page(METADATA_START + self._metadata.nbytes)
        self._pool, self._flushing = ThreadPoolExecutor(1), Future[None]()
        self._flushing.set_result(None)
        self._is_sealed, self._turn = False, Lock()
        self.samples = 0

    @property
    def content(self) -> NDArray[np.void]:
        """The `CONTENT` records of the samples so far; a digest may be filled in later."""
        return self._content[: self.samples]

    @property
    def header(self) -> NDArray[np.void]:
        """What `seal` will write: with it `Beton` opens the file before anybody else can."""
        return _header(self.samples, _next_page(self._end))

    def add(self, content: NDArray[np.void], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Append samples, given as `CONTENT` records and the bytes of each; returns where `put` shall write them."""
        new = slice(self.samples, self.samples + len(content))
        positions = self._positions(sizes)
        self._content[new] = content
        for name in ("mode", "width", "height"):
            self._metadata["image"][name][new] = content[name]
        self._metadata["image"]["data_ptr"][new] = self._allocations["ptr"][new] = positions
        self._metadata["label"][new] = content["label"]
        self._allocations["sample_id"][new] = np.arange(new.start, new.stop)
        self._allocations["size"][new] = sizes
        self.samples = new.stop
        return positions

    def put(self, images: memoryview, position: int, room: memoryview) -> None:
        """Write images that lie one after another, read them back into ``room``, and compare.

        For the threads of this process. A file takes one write at a time, and a thread that waits for the kernel to
        let it write keeps a core busy; so they take turns here. Raises as `put` does.
        """
        with self._turn:
            _write(self._file.fileno(), [images], position)
        back = room[: len(images)]
        if os.preadv(self._file.fileno(), [back], position) != len(images) or not _are_same(images, back):
            raise _unlike(self.path)

    def flush(self) -> None:
        """Have the disk begin with what was put so far, if that is much, while others go on."""
        if self._end - self._on_disk > FLUSHED and self._flushing.done():
            self._flushing.result()
            self._on_disk = self._end
            self._flushing = self._pool.submit(os.fdatasync, self._file.fileno())

    def finish(self) -> None:
        """Write the tables, and have everything on the disk. Raises `ToolkitError` when they don't read back."""
        self._flushing.result()
        descriptor, table = self._file.fileno(), _next_page(self._end)
        _write(descriptor, [self._allocations[: self.samples].tobytes()], table)
        _write(descriptor, [_field_descriptors().tobytes(), self._metadata[: self.samples].tobytes()], HEADER.itemsize)
        os.fsync(descriptor)
        with Beton(self.path, self.header) as written:
            same = np.array_equal(written.metadata, self._metadata[: self.samples])
            if not same or not np.array_equal(written.allocations, self._allocations[: self.samples]):
                raise _unlike(self.path)

    def seal(self) -> None:
        """Write the header: from now on readers open the file. Closing has it on the disk."""
        _write(self._file.fileno(), [self.header.tobytes()], 0)
        self._is_sealed = True

    def _positions(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where samples of these sizes go: one after another, none across the end of a page."""
        ends, positions = np.cumsum(sizes), np.empty(len(sizes), np.int64)
        first = placed = 0
        while first < len(sizes):
            after = int(np.searchsorted(ends, placed + PAGE_SIZE - self._end % PAGE_SIZE, "right"))
            if after == first:
                self._end = _next_page(self._end)
                continue
            positions[first:after] = self._end - placed + ends[first:after] - sizes[first:after]
            self._end += int(ends[after - 1]) - placed
            first, placed = after, int(ends[after - 1])
        return positions

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        if self._is_sealed:
            os.fsync(self._file.fileno())
        self._file.close()


def put(path: Path, images: Sequence[Buffer], positions: Sequence[int]) -> None:
    """Write encoded images to where `BetonWriter.add` said, and compare what then is there with them.

    Raises `ToolkitError` when it is something else, OSError when the disk is full.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        sizes = [len(image) for image in images]
        ends = [position + size for position, size in zip(positions, sizes, strict=True)]
        starts = [i for i in range(len(images)) if i == 0 or positions[i] != ends[i - 1]]
        runs = itertools.pairwise([*starts, len(images)])
        for first, after in runs:
            _write(descriptor, images[first:after], positions[first])
        for image, position, size in zip(images, positions, sizes, strict=True):
            if os.pread(descriptor, size, position) != image:
                raise _unlike(path)
    finally:
        os.close(descriptor)


def _write(descriptor: int, parts: Sequence[Buffer | memoryview], position: int) -> None:
    written, size = os.pwritev(descriptor, parts, position), sum(map(len, parts))
    while written < size:  # a full disk, or a limit: the next call tells which
        written += os.pwrite(descriptor, b"".join(parts)[written:], position + written)


def _are_same(some: memoryview, others: memoryview) -> bool:
    """Whether two stretches of writable memory of one length hold the same.

    Python compares such memory byte by byte, NumPy makes an array of truths first.
    """
    start, other = (ctypes.byref(ctypes.c_char.from_buffer(memory)) for memory in (some, others))
    return not memcmp(start, other, len(some))


def _unlike(path: Path) -> ToolkitError:
    return ToolkitError(f"{path} does not read back as it was written: the disk or the memory is at fault")


class Beton:
    """A file opened for reading. Opening checks all tables against each other, so that no later read goes astray."""

    def __init__(self, path: Path, header: NDArray[np.void] | None = None) -> None:
        """Open ``path``, with a ``header`` that is not in it yet if one is given.

        Raises `ToolkitError` with the first thing that is wrong with its tables.
        """
        self.path = path
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise ToolkitError(f"{path} cannot be read ({error.strerror})") from error
        self.bytes = os.fstat(self._file.fileno()).st_size
        first: np.void = (self._table(0, 1, HEADER) if header is None else header)[0]
        self._check_header(first)
        self.samples = int(first["num_samples"])
        self.metadata = self._table(METADATA_START, self.samples, METADATA)
        self.allocations = self._table(int(first["alloc_table_ptr"]), self.samples, ALLOCATION)
        self.pointers, self.sizes = (self.allocations[name].astype(np.int64) for name in ("ptr", "size"))
        self._check_tables(int(first["alloc_table_ptr"]))

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels of all samples, in order, (n,)."""
        return self.metadata["label"]

    def image(self, number: int) -> Encoded:
        """The encoded image of sample ``number``. Safe to call from several threads."""
        _, pointer, size = self.allocations[number].item()
        (mode, width, height, _), _ = self.metadata[number].item()
        return Encoded(mode, width, height, os.pread(self._file.fileno(), size, pointer))

    def content(self, threads: int = 1) -> NDArray[np.void]:
        """The `CONTENT` records of all samples, (n,), from the bytes that are in the file now."""
        records = self.records(np.arange(self.samples))
        ranges = [range(i, min(i + 256, self.samples)) for i in range(0, self.samples, 256)]
        with ThreadPoolExecutor(threads) as pool:
            for numbers, of_images in zip(ranges, pool.map(self._digests, ranges), strict=True):
                records["digest"][numbers.start : numbers.stop] = of_images
        return records

    def records(self, numbers: NDArray[np.int64]) -> NDArray[np.void]:
        """The `CONTENT` records of samples, (n,), without their digests: what the tables say."""
        records = np.zeros(len(numbers), CONTENT)
        records["label"] = self.labels[numbers]
        for name in ("mode", "width", "height"):
            records[name] = self.metadata["image"][name][numbers]
        return records

    def gaps(self) -> Iterator[tuple[int, int]]:
        """The (start, end) of every stretch of the file that holds nothing, and so must be zero."""
        end = METADATA_START + self.metadata.nbytes
        for _, pointer, size in self.allocations.tolist():
            if pointer > end:
                yield end, pointer
            end = pointer + size
        yield end, self.bytes - self.allocations.nbytes

    def read(self, start: int, end: int) -> bytes:
        """The file's bytes from ``start`` to ``end``."""
        return os.pread(self._file.fileno(), end - start, start)

    def gather(self, numbers: NDArray[np.int64], room: memoryview) -> memoryview:
        """The encoded images of samples, in ascending order, one after another at the beginning of ``room``.

        Safe to call from several threads. Raises `ToolkitError` when they cannot be read.
        """
        starts, sizes = self.pointers[numbers], self.sizes[numbers]
        ends = np.cumsum(sizes)
        gaps = np.flatnonzero(starts[1:] != starts[:-1] + sizes[:-1]) + 1
        for first, after in itertools.pairwise([0, *gaps.tolist(), len(numbers)]):
            stretch = room[ends[first] - sizes[first] : ends[after - 1]]
            if os.preadv(self._file.fileno(), [stretch], int(starts[first])) != len(stretch):
                raise broken(self.path, f"it cannot be read at byte {starts[first]}")
        return room[: ends[-1]]

    def portion(self, numbers: NDArray[np.int64]) -> Portion:
        """Samples, in ascending order, for another process to read."""
        return Portion(self.path, self.metadata[numbers], self.sizes[numbers])

    def _digests(self, numbers: range) -> NDArray[np.uint8]:
        return digests(self.image(number).data for number in numbers)

    def _table(self, start: int, count: int, dtype: np.dtype[np.void]) -> NDArray[np.void]:
        if start + count * dtype.itemsize > self.bytes:
            raise broken(self.path, f"it ends at byte {self.bytes}, within its tables (truncated?)")
        return np.frombuffer(self.read(start, start + count * dtype.itemsize), dtype)

    def _check_header(self, header: np.void) -> None:
        if header["version"] == 0:
            raise broken(self.path, "its header was never written: whoever wrote it was stopped half-way")
        if (header["version"], header["num_fields"], header["page_size"]) != (VERSION, len(FIELDS), PAGE_SIZE):
            raise broken(
                self.path, f"its header does not say version {VERSION}, {len(FIELDS)} fields, {PAGE_SIZE} byte pages"
            )
        if self.read(HEADER.itemsize, METADATA_START) != _field_descriptors().tobytes():
            raise broken(self.path, "its fields are not an image and a label")
        largest = (self.bytes - METADATA_START) // (METADATA.itemsize + ALLOCATION.itemsize)
        table_end = int(header["alloc_table_ptr"]) + int(header["num_samples"]) * ALLOCATION.itemsize
        if header["num_samples"] > largest or table_end != self.bytes:
            raise broken(
                self.path, f"its header and its {self.bytes} bytes do not fit each other (truncated or damaged)"
            )

    def _check_tables(self, table: int) -> None:
        image, pointers, sizes = self.metadata["image"], self.pointers, self.sizes
        ends = pointers + sizes
        first = _next_page(METADATA_START + self.metadata.nbytes) if self.samples else 0
        checks = {
            "sample ids out of order": self.allocations["sample_id"] != np.arange(self.samples),
            "metadata and allocation table disagree": image["data_ptr"] != self.allocations["ptr"],
            "image data outside the data pages": (pointers < first) | (ends > table) | (ends < pointers),
            "an image that crosses a page": (sizes < 1) | (pointers % PAGE_SIZE + sizes > PAGE_SIZE),
            "overlapping images": np.append(False, pointers[1:] < ends[:-1]),
            "an unknown image mode": image["mode"] > RAW,
            "an image without area": (image["width"] == 0) | (image["height"] == 0),
            "a raw image of the wrong size": (image["mode"] == RAW)
            & (sizes != 3 * image["width"].astype(np.int64) * image["height"]),
        }
        for problem, where in checks.items():
            if where.any():
                raise broken(self.path, f"{problem}, first at sample {int(where.argmax())}")
        if _without_padding(self.metadata).tobytes() != self.metadata.tobytes():
            raise broken(self.path, "its metadata has bytes where none belong")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def broken(path: Path, problem: str) -> ToolkitError:
    """What to raise for a damaged file: where, what, and what to do."""
    return ToolkitError(f"{path} is damaged: {problem}; copy it again or write the dataset anew")


def content_hash(splits: Mapping[str, NDArray[np.void]]) -> str:
    """BLAKE3 (hex) over the `CONTENT` records of the splits, train first, each after its name and length.

    It depends on labels, sizes and encoded bytes in their order, and on nothing of how or where they were written.
    """
    whole = blake3()
    for name in sorted(splits, key=lambda name: (name != "train", name)):
        whole.update(f"{name} {len(splits[name])}\n".encode())
        whole.update(splits[name].tobytes())
    return whole.hexdigest()


def _next_page(position: int) -> int:
    return -(-position // PAGE_SIZE) * PAGE_SIZE


def _header(samples: int, table: int) -> NDArray[np.void]:
    return np.array([(VERSION, len(FIELDS), PAGE_SIZE, samples, table)], HEADER)


def _field_descriptors() -> NDArray[np.void]:
    fields = np.zeros(len(FIELDS), FIELD)
    for field, (name, type_id) in zip(fields, FIELDS, strict=True):
        field["type_id"] = type_id
        field["name"][: len(name)] = list(name.encode())
    return fields


def _without_padding(records: NDArray[np.void]) -> NDArray[np.void]:
    clean = np.zeros(len(records), METADATA)
    for name in ("mode", "width", "height", "data_ptr"):
        clean["image"][name] = records["image"][name]
    clean["label"] = records["label"]
    return clean
