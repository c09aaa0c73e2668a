"""Images inside uncompressed tar files: found by their headers once, read in place."""

import gzip
import io
import os
import tarfile
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, cast

from rich.console import Console
from rich.text import Text

from data_prep.storage.samples import Sample, Samples, Span
from toolkit.errors import ToolkitError
from toolkit.files import open_regular
from toolkit.visible import visible


class TarEntry(NamedTuple):
    """A regular file in a tar: its name and the stretch of the tar that is its content."""

    name: str
    start: int
    size: int


LARGEST_HEADER = 1 << 20
"""Bytes of the longest header that is read: names and attributes of a member."""
LARGEST_ARCHIVE = 1 << 30
"""Bytes that a compressed archive may unpack to: CIFAR-10, the largest there is, has 186 MB."""
GZIP = b"\x1f\x8b"


class _Bounded:
    """A file of which one read takes at most ``longest`` bytes, and of which no byte behind ``end`` is reached.

    A header may claim any length, and a few kB of gzip unpack to as many GB as their author likes.
    """

    def __init__(self, file: IO[bytes], longest: int, end: int | None = None) -> None:
        self.file, self.longest, self.end, self.tell = file, longest, end, file.tell

    def read(self, size: int) -> bytes:
        if size > self.longest:
            raise tarfile.ReadError(f"it asks for {size:,} bytes at once; {self.longest:,} are the most")
        self._check(self.tell() + size)
        return self.file.read(size)

    def seek(self, place: int) -> int:
        self._check(place)
        return self.file.seek(place)

    def _check(self, place: int) -> None:
        if self.end is not None and place > self.end:
            raise tarfile.ReadError(f"it unpacks to more than {self.end:,} bytes")


def members(tar: Path, start: int = 0) -> Iterator[TarEntry]:
    """The files of the tar, or of one that begins at byte ``start`` inside it. Reads headers only.

    Raises `ToolkitError` when it is compressed, truncated or no tar at all.
    """
    try:
        with os.fdopen(open_regular(tar), "rb") as file:
            file.seek(start)
            with tarfile.open(fileobj=cast(IO[bytes], _Bounded(file, LARGEST_HEADER)), mode="r:") as archive:
                yield from (TarEntry(info.name, info.offset_data, info.size) for info in archive if info.isfile())
                end = archive.offset
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE).strip(b"\0") or file.tell() == end:
                raise tarfile.ReadError("it ends without the mark of an end, as a download that was stopped does")
    except (tarfile.TarError, OSError) as error:
        raise ToolkitError(f"{tar} is no whole, uncompressed tar ({error}); fetch or unpack it again") from error


def content_of(archive: Path, name: str) -> bytes:
    """A file out of a tar, gzipped or not.

    Raises `ToolkitError` when it is not there, is damaged, or the archive unpacks to more than `LARGEST_ARCHIVE` bytes.
    """
    try:
        with os.fdopen(open_regular(archive), "rb") as packed, gzip.GzipFile(fileobj=packed) as unpacked:
            is_packed = packed.read(2) == GZIP
            packed.seek(0)
            bounded = _Bounded(cast(IO[bytes], unpacked) if is_packed else packed, LARGEST_ARCHIVE, LARGEST_ARCHIVE)
            with (
                tarfile.open(fileobj=cast(IO[bytes], bounded), mode="r:") as tar,
                tar.extractfile(name) or io.BytesIO() as file,
            ):
                return file.read()
    except (tarfile.TarError, OSError, EOFError, KeyError, zlib.error) as error:
        raise ToolkitError(f"{archive}: {name} cannot be read ({error}); fetch it again") from error


class Spans(Samples):
    """Labelled members of tar files."""

    def __init__(self) -> None:
        self.tars: list[str] = []
        self.names: list[str] = []
        self.labels, self._tar, self._start, self._size = array("q"), array("L"), array("Q"), array("Q")

    def add(self, tar: Path, member: TarEntry, label: int) -> None:
        """Append a member; those of one tar come one after another."""
        if not self.tars or self.tars[-1] != os.fspath(tar):
            self.tars.append(os.fspath(tar))
        self.names.append(member.name)
        self.labels.append(label)
        self._tar.append(len(self.tars) - 1)
        self._start.append(member.start)
        self._size.append(member.size)

    def __len__(self) -> int:
        return len(self.names)

    def sample(self, number: int) -> Sample:
        """The member of that number."""
        tar = self.tars[self._tar[number]]
        span = Span(tar, self._start[number], self._size[number])
        return Sample(f"{Path(tar).name}/{self.names[number]}", self.labels[number], span)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Show that the headers of ``path`` are being read: 60,000 a second from a disk, fewer from a network."""
    with Console(stderr=True).status(Text(f"reading the headers of {visible(path.name)}")):
        yield
