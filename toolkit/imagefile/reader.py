"""Read FFCV's file format (version 2): tables by numpy, images by a memory map.

The layout is FFCV's own (ffcv/types.py, ffcv/reader.py); a test holds this reader against FFCV's. It is read here
because FFCV's package compiles for several seconds in every process that imports it.
"""

import mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt

from toolkit.errors import ToolkitError

VERSION = 2
HEADER = np.dtype(
    [("version", "<u2"), ("fields", "<u2"), ("page", "<u4"), ("samples", "<u8"), ("table", "<u8")], align=True
)
FIELD = np.dtype([("type", "<u1"), ("name", ("<u1", 16)), ("arguments", ("<u1", (1024,)))], align=True)
IMAGE = np.dtype([("mode", "<u1"), ("width", "<u2"), ("height", "<u2"), ("pointer", "<u8")])
LABEL = np.dtype("<i8")
ALLOCATION = np.dtype([("sample", "<u8"), ("pointer", "<u8"), ("size", "<u8")])
FIELDS = {b"image": (2, IMAGE), b"label": (1, LABEL)}
"""The fields of an image classification set: FFCV's type number and its row."""
JPEG, RAW = 0, 1


class Beton:
    """One open ``.beton`` file: a row for each sample, and its image bytes without a copy.

    ``labels``, ``heights``, ``widths``: int64 (samples,); ``modes``: `JPEG` or `RAW`; ``offsets``, ``sizes``: where
    in the file an image lies, in bytes.

    Raises `ToolkitError` when the file is none, was never finished, or points outside of itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
        self.bytes = np.frombuffer(self._map, dtype=np.uint8)
        try:
            image, self.labels = self._rows()
            self.modes = image["mode"]
            self.heights = image["height"].astype(np.int64)
            self.widths = image["width"].astype(np.int64)
            self.offsets = image["pointer"].astype(np.int64)
            self.sizes = self._sizes()
        except ValueError as error:
            raise ToolkitError(f"{path} is no finished FFCV image file ({error}); write it again") from error

    def __len__(self) -> int:
        return len(self.labels)

    def encoded(self, sample: int) -> npt.NDArray[np.uint8]:
        """The stored bytes of an image: a JPEG file, or height x width x 3 values. Read-only, no copy."""
        start = int(self.offsets[sample])
        return self.bytes[start : start + int(self.sizes[sample])]

    def _table(self, kind: np.dtype[np.void], start: int, count: int) -> npt.NDArray[np.void]:
        return np.frombuffer(self._map, dtype=kind, offset=start, count=count)

    def _rows(self) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int64]]:
        self.header = header = self._table(HEADER, 0, 1)[0]
        if header["version"] != VERSION:
            raise ValueError(f"format version {header['version']}, not {VERSION}")
        fields = self._table(FIELD, HEADER.itemsize, int(header["fields"]))
        names = [field["name"].tobytes().rstrip(b"\0") for field in fields]
        if {n: int(f["type"]) for n, f in zip(names, fields, strict=True)} != {n: t for n, (t, _) in FIELDS.items()}:
            raise ValueError(f"fields {', '.join(n.decode(errors='replace') for n in names)}, not image and label")
        kind = np.dtype([(name.decode(), FIELDS[name][1]) for name in names], align=True)
        rows = self._table(kind, HEADER.itemsize + fields.nbytes, int(header["samples"]))
        return rows["image"], rows["label"].astype(np.int64)

    def _sizes(self) -> npt.NDArray[np.int64]:
        """Bytes of each image, from the allocation table at the file's end."""
        start = int(self.header["table"])
        if len(self) == 0 or not 0 < start < len(self.bytes):
            raise ValueError("no allocation table")
        table = self._table(ALLOCATION, start, (len(self.bytes) - start) // ALLOCATION.itemsize)
        table = table[np.argsort(table["pointer"], kind="stable")]
        place = np.searchsorted(table["pointer"], self.offsets.astype(np.uint64))
        entries = table[np.minimum(place, len(table) - 1)]
        sizes = entries["size"].astype(np.int64)
        lost = (entries["pointer"] != self.offsets.astype(np.uint64)) | (self.offsets + sizes > start)
        if lost.any():
            raise ValueError(f"sample {int(np.argmax(lost))} has no data")
        return sizes
