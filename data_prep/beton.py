"""FFCV's ``.beton`` format, version 2, for one image and one label a sample: written in order, read without FFCV.

A file is a header, the field descriptors, one metadata record a sample, pages of image data, and an allocation
table. FFCV's own writer lets every worker append pages as they fill, so its bytes differ from run to run, and writes
a header that opens before any label is there. Here one process lays the samples down in order, and the header comes
last: a file that was cut short has zeros where readers look for the version, and opens nowhere.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import ToolkitError

VERSION = 2
PAGE_SIZE = 1 << 23
"""Bytes. FFCV's default; no image crosses a page, so none is larger."""
JPG, RAW = 0, 1

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
CONTENT = np.dtype([("label", "<i8"), ("mode", "<u1"), ("width", "<u2"), ("height", "<u2"), ("sha256", "<u1", 32)])
"""What a sample is, wherever it lies in a file: `content_hash` is taken over these records."""

FIELDS = (("image", 2), ("label", 1))  # FFCV's type ids of RGBImageField and IntField
METADATA_START = HEADER.itemsize + len(FIELDS) * FIELD.itemsize


class Encoded(NamedTuple):
    """An image as it lies in the file: JPEG or raw RGB bytes, row by row."""

    mode: int
    width: int
    height: int
    data: bytes

    @property
    def sha256(self) -> bytes:
        """Digest (32 bytes) of the data alone."""
        return hashlib.sha256(self.data).digest()


class BetonWriter:
    """Writes one file, sample after sample. Until `finish` has returned, no reader opens it."""

    def __init__(self, path: Path, capacity: int) -> None:
        """Make ``path``, with room for ``capacity`` samples; fewer may be added."""
        self._file: BinaryIO = path.open("xb")
        self._metadata = np.zeros(capacity, METADATA)
        self._allocations = np.zeros(capacity, ALLOCATION)
        self._content = np.zeros(capacity, CONTENT)
        self._end = _next_page(METADATA_START + self._metadata.nbytes)
        self._file.seek(self._end)
        self.samples = 0

    def add(self, label: int, image: Encoded, sha256: bytes) -> None:
        """Append a sample. ``sha256`` is ``image.sha256``, which a worker has computed already."""
        size = len(image.data)
        if self._end % PAGE_SIZE + size > PAGE_SIZE:
            self._end = _next_page(self._end)
            self._file.seek(self._end)
        self._file.write(image.data)
        number = self.samples
        self._metadata[number] = ((image.mode, image.width, image.height, self._end), label)
        self._allocations[number] = (number, self._end, size)
        digest = np.frombuffer(sha256, np.uint8)
        self._content[number] = (label, image.mode, image.width, image.height, digest)
        self._end += size
        self.samples += 1

    def finish(self) -> NDArray[np.void]:
        """Write tables and, once those are on disk, the header. Returns the `CONTENT` records of the samples."""
        table = _next_page(self._end)
        self._file.seek(table)
        self._file.write(self._allocations[: self.samples].tobytes())
        self._file.seek(HEADER.itemsize)
        self._file.write(_field_descriptors().tobytes() + self._metadata[: self.samples].tobytes())
        self._sync()
        self._file.seek(0)
        self._file.write(_header(self.samples, table).tobytes())
        self._sync()
        return self._content[: self.samples]

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class Beton:
    """A file opened for reading. Opening checks all tables against each other, so that no later read goes astray."""

    def __init__(self, path: Path) -> None:
        """Open ``path``. Raises `ToolkitError` with the first thing that is wrong with its tables."""
        self.path = path
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise ToolkitError(f"{path} cannot be read ({error.strerror})") from error
        self.bytes = os.fstat(self._file.fileno()).st_size
        header = self._table(0, 1, HEADER)[0]
        self._check_header(header)
        self.samples = int(header["num_samples"])
        self.metadata = self._table(METADATA_START, self.samples, METADATA)
        self.allocations = self._table(int(header["alloc_table_ptr"]), self.samples, ALLOCATION)
        self._check_tables(int(header["alloc_table_ptr"]))

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
        records = np.zeros(self.samples, CONTENT)
        records["label"] = self.labels
        for name in ("mode", "width", "height"):
            records[name] = self.metadata["image"][name]
        ranges = (range(i, min(i + 256, self.samples)) for i in range(0, self.samples, 256))
        with ThreadPoolExecutor(threads) as pool:
            digests = b"".join(pool.map(self._digests, ranges))
        records["sha256"] = np.frombuffer(digests, np.uint8).reshape(-1, 32)
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

    def _digests(self, numbers: range) -> bytes:
        return b"".join(self.image(number).sha256 for number in numbers)

    def _table(self, start: int, count: int, dtype: np.dtype[np.void]) -> NDArray[np.void]:
        if start + count * dtype.itemsize > self.bytes:
            raise self._broken(f"it ends at byte {self.bytes}, within its tables (truncated?)")
        return np.frombuffer(self.read(start, start + count * dtype.itemsize), dtype)

    def _check_header(self, header: np.void) -> None:
        if header["version"] == 0:
            raise self._broken("its header was never written: whoever wrote it was stopped half-way")
        if (header["version"], header["num_fields"], header["page_size"]) != (VERSION, len(FIELDS), PAGE_SIZE):
            raise self._broken(
                f"its header does not say version {VERSION}, {len(FIELDS)} fields, {PAGE_SIZE} byte pages"
            )
        if self.read(HEADER.itemsize, METADATA_START) != _field_descriptors().tobytes():
            raise self._broken("its fields are not an image and a label")
        largest = (self.bytes - METADATA_START) // (METADATA.itemsize + ALLOCATION.itemsize)
        table_end = int(header["alloc_table_ptr"]) + int(header["num_samples"]) * ALLOCATION.itemsize
        if header["num_samples"] > largest or table_end != self.bytes:
            raise self._broken(f"its header and its {self.bytes} bytes do not fit each other (truncated or damaged)")

    def _check_tables(self, table: int) -> None:
        pointers, sizes = self.allocations["ptr"].astype(np.int64), self.allocations["size"].astype(np.int64)
        image = self.metadata["image"]
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
                raise self._broken(f"{problem}, first at sample {int(where.argmax())}")
        if _without_padding(self.metadata).tobytes() != self.metadata.tobytes():
            raise self._broken("its metadata has bytes where none belong")

    def _broken(self, problem: str) -> ToolkitError:
        return ToolkitError(f"{self.path} is damaged: {problem}; copy it again or write the dataset anew")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def content_hash(splits: Mapping[str, NDArray[np.void]]) -> str:
    """SHA-256 (hex) over the `CONTENT` records of the splits, train first, each after its name and length.

    It depends on labels, sizes and encoded bytes in their order, and on nothing of how or where they were written.
    """
    whole = hashlib.sha256()
    for name in sorted(splits, key=lambda name: (name != "train", name)):
        whole.update(f"{name} {len(splits[name])}\n".encode())
        whole.update(splits[name].tobytes())
    return whole.hexdigest()


def _next_page(position: int) -> int:
    return -(-position // PAGE_SIZE) * PAGE_SIZE


def _header(samples: int, table: int) -> NDArray[np.void]:
    return np.array((VERSION, len(FIELDS), PAGE_SIZE, samples, table), HEADER)


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
