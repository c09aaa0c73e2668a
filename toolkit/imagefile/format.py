"""FFCV's ``.beton`` format, version 2, for one image and one label a sample: its records, and what a sample is.

A file is a header, the field descriptors, one metadata record a sample, pages of image data, and an allocation
table. The layout is FFCV's own (ffcv/types.py, ffcv/reader.py); tests hold it against FFCV's writer, reader and loader.
It is written down here once, because FFCV's package compiles for several seconds in every process that imports it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from toolkit.errors import ToolkitError

VERSION = 2
PAGE_SIZE = 1 << 23
"""Bytes. FFCV's default; no image crosses a page, so none is larger."""
JPG, RAW = 0, 1
Pixels = NDArray[np.uint8]
"""RGB, (height, width, 3)."""
Buffer = bytes | bytearray  # and no memoryview: Python compares those byte by byte

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
LABEL = np.dtype("<i8")
METADATA = np.dtype([("image", IMAGE), ("label", LABEL)], align=True)
ALLOCATION = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])
DIGEST_SIZE = 32
CONTENT = np.dtype(
    [("label", "<i8"), ("mode", "<u1"), ("width", "<u2"), ("height", "<u2"), ("digest", "<u1", DIGEST_SIZE)]
)
"""What a sample is, wherever it lies in a file: `content_hash` is taken over these records."""

FIELDS = (("image", 2), ("label", 1))  # FFCV's type ids of RGBImageField and IntField
METADATA_START = HEADER.itemsize + len(FIELDS) * FIELD.itemsize


class BadImage(Exception):
    """An image that cannot be used, and why."""


class Encoded(NamedTuple):
    """An image as it lies in the file: JPEG or raw RGB bytes, row by row."""

    mode: int
    width: int
    height: int
    data: bytes
    grey_bits: int = 0
    """Bits of its brightest value where it was grey of 16 bits and stated no range; 0: it was not. No file keeps it."""


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


def next_page(position: int) -> int:
    """The first page boundary at or after a position, bytes."""
    return -(-position // PAGE_SIZE) * PAGE_SIZE


def header(samples: int, table: int) -> NDArray[np.void]:
    """The `HEADER` record, (1,), of a file whose allocation table begins at byte ``table``."""
    return np.array([(VERSION, len(FIELDS), PAGE_SIZE, samples, table)], HEADER)


def field_descriptors() -> NDArray[np.void]:
    """The `FIELD` records, (2,), of an image and a label."""
    fields = np.zeros(len(FIELDS), FIELD)
    for field, (name, type_id) in zip(fields, FIELDS, strict=True):
        field["type_id"] = type_id
        field["name"][: len(name)] = list(name.encode())
    return fields


def without_padding(records: NDArray[np.void]) -> NDArray[np.void]:
    """The `METADATA` records, (n,), with zeros in the bytes that belong to no field."""
    clean = np.zeros(len(records), METADATA)
    for name in ("mode", "width", "height", "data_ptr"):
        clean["image"][name] = records["image"][name]
    clean["label"] = records["label"]
    return clean
