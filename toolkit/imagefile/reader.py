"""The one reader of ``.beton`` files: for the training loader, for verification, for subsets, for the writer itself.

Whoever wrote the file, opening it looks at all its tables, so that no later read goes astray. ``check="layout"`` asks
for more: that the file is laid out as `toolkit.imagefile.writer` does, with nothing where nothing belongs.
"""

import itertools
import mmap
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import ToolkitError
from toolkit.files import open_regular
from toolkit.imagefile.format import (
    ALLOCATION,
    CONTENT,
    FIELD,
    FIELDS,
    HEADER,
    IMAGE,
    LABEL,
    METADATA_START,
    PAGE_SIZE,
    RAW,
    VERSION,
    Encoded,
    broken,
    digests,
    field_descriptors,
    next_page,
    without_padding,
)

Check = Literal["tables", "layout"]
Flags = NDArray[np.bool_]


class Portion(NamedTuple):
    """Some samples of a file, in its order, with what another process needs to read their images."""

    path: Path
    metadata: NDArray[np.void]
    sizes: NDArray[np.int64]
    """Bytes of each image."""

    def images(self) -> Iterator[Encoded]:
        """The encoded images, one after another."""
        descriptor = open_regular(self.path)
        try:
            for (image, _), size in zip(self.metadata.tolist(), self.sizes.tolist(), strict=True):
                mode, width, height, pointer = image
                yield Encoded(mode, width, height, os.pread(descriptor, size, pointer))
        finally:
            os.close(descriptor)


class Beton:
    """One open ``.beton`` file: columns over its samples, and their images.

    ``labels``, ``heights``, ``widths``, ``offsets`` and ``sizes`` (where an image begins, and its bytes): int64,
    (n,); ``modes``: `JPG` or `RAW`, (n,); ``bytes``: the file's size.
    """

    def __init__(self, path: Path, header: NDArray[np.void] | None = None) -> None:
        """Open ``path`` without the layout check, with a ``header`` that is not in it yet if one is given."""
        self.path = path
        try:
            self._file = os.fdopen(open_regular(path), "rb", buffering=0)
        except OSError as error:
            raise ToolkitError(f"{path} cannot be read ({error.strerror})") from error
        self.bytes = os.fstat(self._file.fileno()).st_size
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if self.bytes else b""
        self._whole = np.frombuffer(self._map, np.uint8)
        self.header: np.void = (self._table(HEADER, 0, 1) if header is None else header)[0]
        self._table_start = self._checked_header()
        self.metadata = self._rows()
        image = self.metadata["image"]
        self.modes, self.labels = image["mode"], self.metadata["label"].astype(np.int64)
        self.heights, self.widths = image["height"].astype(np.int64), image["width"].astype(np.int64)
        self.offsets = image["data_ptr"].astype(np.int64)
        self.allocations = self._table(
            ALLOCATION, self._table_start, (self.bytes - self._table_start) // ALLOCATION.itemsize
        )
        self.sizes = self._sizes()
        self._refuse(self._wrong_images())

    @classmethod
    def open(cls, path: Path, check: Check = "tables", header: NDArray[np.void] | None = None) -> Self:
        """Open a file; "layout" asks that our writer can have written it, byte for byte.

        Raises `ToolkitError` with the first thing that is wrong with its tables.
        """
        beton = cls(path, header)
        if check == "layout":
            beton.check_layout()
        return beton

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.labels)

    def encoded(self, number: int) -> NDArray[np.uint8]:
        """The stored bytes of sample ``number``'s image, read-only and without a copy: a JPEG file, or raw pixels."""
        start = int(self.offsets[number])
        return self._whole[start : start + int(self.sizes[number])]

    def image(self, number: int) -> Encoded:
        """The encoded image of sample ``number``, read anew. Safe to call from several threads."""
        data = os.pread(self._file.fileno(), int(self.sizes[number]), int(self.offsets[number]))
        return Encoded(int(self.modes[number]), int(self.widths[number]), int(self.heights[number]), data)

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
        records["label"], records["mode"] = self.labels[numbers], self.modes[numbers]
        records["width"], records["height"] = self.widths[numbers], self.heights[numbers]
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
        starts, sizes = self.offsets[numbers], self.sizes[numbers]
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

    def check_layout(self) -> None:
        """Raise `ToolkitError` unless our writer can have laid the file out so."""
        order = np.arange(self.samples)
        fields = self.read(HEADER.itemsize, METADATA_START)
        if self.header["page_size"] != PAGE_SIZE or fields != field_descriptors().tobytes():
            raise broken(self.path, f"it is not laid out as an image and a label in pages of {PAGE_SIZE} bytes")
        if len(self.allocations) != self.samples or self._table_start + self.allocations.nbytes != self.bytes:
            raise broken(
                self.path, f"its header and its {self.bytes} bytes do not fit each other (truncated or damaged)"
            )
        first = next_page(METADATA_START + self.metadata.nbytes) if self.samples else 0
        ends = self.offsets + self.sizes
        self._refuse(
            {
                "sample ids out of order": self.allocations["sample_id"] != order,
                "metadata and allocation table disagree": self.offsets.astype(np.uint64) != self.allocations["ptr"],
                "image data outside the data pages": self.offsets < first,
                "an image that crosses a page": self.offsets % PAGE_SIZE + self.sizes > PAGE_SIZE,
                "overlapping images": np.append(False, self.offsets[1:] < ends[:-1])[: self.samples],
            }
        )
        if without_padding(self.metadata).tobytes() != self.metadata.tobytes():
            raise broken(self.path, "its metadata has bytes where none belong")

    def _digests(self, numbers: range) -> NDArray[np.uint8]:
        return digests(self.image(number).data for number in numbers)

    def _table(self, kind: np.dtype[np.void], start: int, count: int) -> NDArray[np.void]:
        if start + count * kind.itemsize > self.bytes:
            raise broken(self.path, f"it ends at byte {self.bytes}, within its tables (truncated?)")
        return np.frombuffer(self._map, kind, count, start)

    def _checked_header(self) -> int:
        """Where the allocation table begins, after the header was seen to fit the file."""
        version, samples, start = (int(self.header[name]) for name in ("version", "num_samples", "alloc_table_ptr"))
        if version == 0:
            raise broken(self.path, "its header was never written: whoever wrote it was stopped half-way")
        if version != VERSION:
            raise broken(self.path, f"its format version is {version}, not {VERSION}")
        if self.header["num_fields"] != len(FIELDS):
            raise broken(self.path, f"its fields are {self.header['num_fields']}, not an image and a label")
        if start == 0 and samples:
            raise broken(self.path, "it has no allocation table: whoever wrote it was stopped half-way")
        if not METADATA_START <= start <= self.bytes - samples * ALLOCATION.itemsize:
            raise broken(
                self.path, f"its header and its {self.bytes} bytes do not fit each other (truncated or damaged)"
            )
        return start

    def _rows(self) -> NDArray[np.void]:
        """The metadata records, (n,), with the fields ``image`` and ``label`` in the file's order."""
        fields = self._table(FIELD, HEADER.itemsize, len(FIELDS))
        names = [field["name"].tobytes().rstrip(b"\0").decode(errors="replace") for field in fields]
        if dict(zip(names, fields["type_id"].tolist(), strict=True)) != dict(FIELDS):
            raise broken(self.path, f"its fields are {', '.join(names)}, not an image and a label")
        kinds = {"image": IMAGE, "label": LABEL}
        row = np.dtype([(name, kinds[name]) for name in names], align=True)
        if int(self.header["num_samples"]) * row.itemsize > self._table_start - METADATA_START:
            raise broken(
                self.path, f"its header and its {self.bytes} bytes do not fit each other (truncated or damaged)"
            )
        return self._table(row, METADATA_START, int(self.header["num_samples"]))

    def _sizes(self) -> NDArray[np.int64]:
        """Bytes of each image, from the allocation table, which FFCV's own writer does not keep in order."""
        pointers = self.allocations["ptr"]
        order = np.argsort(pointers, kind="stable")
        wanted = self.metadata["image"]["data_ptr"]
        if not len(wanted):
            return np.zeros(0, np.int64)
        entries = order[np.minimum(np.searchsorted(pointers, wanted, sorter=order), len(order) - 1)]
        self._refuse({"an image without data": pointers[entries] != wanted})
        return self.allocations["size"][entries].astype(np.int64)

    def _wrong_images(self) -> Mapping[str, Flags]:
        start, sizes = self._table_start, self.sizes
        outside = (
            (self.offsets < METADATA_START) | (self.offsets > start) | (sizes > start) | (self.offsets + sizes > start)
        )
        return {
            "an image without data": sizes < 1,
            "image data outside the data pages": outside,
            "an unknown image mode": self.modes > RAW,
            "an image without area": (self.widths == 0) | (self.heights == 0),
            "a raw image of the wrong size": (self.modes == RAW) & (sizes != 3 * self.widths * self.heights),
        }

    def _refuse(self, problems: Mapping[str, Flags]) -> None:
        for problem, where in problems.items():
            if where.any():
                raise broken(self.path, f"{problem}, first at sample {int(where.argmax())}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
