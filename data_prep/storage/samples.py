"""Where a sample's image lies: a file, a stretch of a tar, a cell of a parquet file. Read in the worker, not before."""

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol, overload

import numpy as np

from toolkit.files import NotRegular, open_regular, regular
from toolkit.imagefile.format import BadImage, Pixels

LARGEST_IMAGE = 1 << 30
"""Bytes of an image file that are read (our choice): more than the largest image read takes uncompressed."""


def check_bytes(size: int) -> None:
    """Raises `BadImage` for more than `LARGEST_IMAGE` bytes."""
    if size > LARGEST_IMAGE:
        raise BadImage(f"has {size:,} bytes; at most {LARGEST_IMAGE:,} are read")


class Stored(Protocol):
    """Something that yields an image file's bytes, or pixels."""

    def read(self) -> "bytes | Pixels":
        """The image file's bytes, or RGB pixels. Raises OSError or `BadImage` when they cannot be had."""


class File(NamedTuple):
    """An image file."""

    path: str

    def read(self) -> bytes:
        """The whole file; a pipe or device of an image's name is refused, for reading it could wait for ever."""
        try:
            with regular(self.path) as (descriptor, size):
                check_bytes(size)
                return os.read(descriptor, size)
        except NotRegular as error:
            raise BadImage("is no regular file") from error


class Span(NamedTuple):
    """A stretch of a larger file: a member of an uncompressed tar."""

    path: str
    start: int
    size: int

    def read(self) -> bytes:
        """The bytes of the stretch."""
        check_bytes(self.size)
        content = os.pread(_descriptor(self.path).number, self.size, self.start)
        if len(content) < self.size:
            raise BadImage(f"ends after {len(content)} of {self.size} bytes: {self.path} is truncated")
        return content


Content = bytes | Pixels | Path | Stored
"""An image file's bytes, RGB pixels, or where the bytes are."""


class Sample(NamedTuple):
    """One labelled image of a source."""

    key: str
    """Where it comes from, for people: what a manifest says of an image that was left out."""
    label: int
    content: Content


class Samples(Sequence[Sample], ABC):
    """Samples that are made when they are asked for, from a few numbers each: a million of them are no burden."""

    passed_over: Counter[str] | None = None
    """Files of the source that are not used, by their kind; None: nobody counted."""

    @abstractmethod
    def sample(self, number: int) -> Sample:
        """The sample of a number from 0 on."""

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        places = range(len(self))[index]
        return self.sample(places) if isinstance(places, int) else [self.sample(i) for i in places]


class Files(Samples):
    """Labelled image files under one folder."""

    def __init__(
        self, root: str | Path, names: Sequence[str], labels: Sequence[int], passed_over: Counter[str] | None = None
    ) -> None:
        """``names`` are paths relative to ``root``, ``labels`` their labels in the same order."""
        self.root, self.names, self.labels = os.fspath(root), names, labels
        self.passed_over = passed_over

    def __len__(self) -> int:
        return len(self.names)

    def sample(self, number: int) -> Sample:
        """The file of that number."""
        name = self.names[number]
        return Sample(name, self.labels[number], File(f"{self.root}/{name}"))


class Picked(Samples):
    """Some samples of another sequence, in the order of ``indices``."""

    def __init__(self, samples: Sequence[Sample], indices: Sequence[int]) -> None:
        """``indices`` count in ``samples``."""
        self.samples, self.indices = samples, indices

    def __len__(self) -> int:
        return len(self.indices)

    def sample(self, number: int) -> Sample:
        """The sample that the index of that number picks."""
        return self.samples[self.indices[number]]


def read(content: Content) -> bytes | Pixels:
    """The image file's bytes, or the pixels where there is no file."""
    if isinstance(content, bytes | np.ndarray):
        return content
    return File(os.fspath(content)).read() if isinstance(content, Path) else content.read()


class _Descriptor:
    """An open file, closed when nobody holds it any more: the cache may let go of it while another thread reads."""

    def __init__(self, path: str) -> None:
        self.number = open_regular(path)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


_descriptor = lru_cache(maxsize=64)(_Descriptor)
