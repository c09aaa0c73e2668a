"""Writes ``.beton`` files in order.

FFCV's own writer lets every worker append pages as they fill, so its bytes differ from run to run, and writes a header
that opens before any label is there. Here one process says where each sample goes, in order, and the header comes last:
a file that was cut short has zeros where readers look for the version, and opens nowhere.
"""

import ctypes
import itertools
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import ToolkitError
from toolkit.imagefile.format import (
    ALLOCATION,
    CONTENT,
    HEADER,
    METADATA,
    METADATA_START,
    PAGE_SIZE,
    Buffer,
    field_descriptors,
    header,
    next_page,
)
from toolkit.imagefile.reader import Beton

FLUSHED = 1 << 28
"""Bytes after which the disk is told to begin."""

memcmp = ctypes.CDLL(None).memcmp
memcmp.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t


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
        self._end = self._on_disk = next_page(METADATA_START + self._metadata.nbytes)
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
        return header(self.samples, next_page(self._end))

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
        descriptor, table = self._file.fileno(), next_page(self._end)
        _write(descriptor, [self._allocations[: self.samples].tobytes()], table)
        _write(descriptor, [field_descriptors().tobytes(), self._metadata[: self.samples].tobytes()], HEADER.itemsize)
        os.fsync(descriptor)
        with Beton.open(self.path, "layout", self.header) as written:
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
                self._end = next_page(self._end)
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
