"""What stands before a JPEG's first scan, as libjpeg reads it: the one reader of headers for loader, writer and verify.

ITU-T T.81, annex B: segments begin with a marker, which any number of fill bytes (0xFF) may precede (B.1.1.2); RSTn and
TEM have no length. Like libjpeg, bytes that belong to no segment are passed over.
"""

import re

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

BASELINE = 0xC0
START_OF_SCAN = 0xDA
END = 0xD9
ALONE = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
"""Second bytes without a length: a stuffed zero, TEM, RST0 to RST7, SOI."""
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
HARMLESS = "extraneous bytes before marker"
"""The one warning of libjpeg that costs no pixel: bytes too many between two segments. Rubbish of some encoder or,
where fewer rows are decoded than there are, the rows that were not asked for."""


class DamagedImage(Exception):
    """The stored bytes of one image don't decode."""


def is_harmless(warning: str) -> bool:
    """Whether a warning of libjpeg leaves every pixel as it should be."""
    return HARMLESS in warning


def frame_header(data: Bytes) -> int:
    """The position of the marker of a JPEG file's frame header (SOFn). Raises `DamagedImage` where there is none."""
    view, place, end = data.data, 2, data.size - 9
    while place < end:
        if view[place] != 0xFF or view[place + 1] == 0xFF:
            place += 1
            continue
        marker = view[place + 1]
        if marker in FRAMES:
            return place
        if marker in (START_OF_SCAN, END):
            break
        place += 2 if marker in ALONE else 2 + (view[place + 2] << 8 | view[place + 3])
    raise DamagedImage("no JPEG frame header")


_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


def image_end(content: bytes) -> int:
    """The byte behind a JPEG file's EOI; the file's length where it has none.

    What looks like an EOI inside a segment, as that of a thumbnail, is none: segments are passed over by their length.
    """
    place = 2
    while found := _MARKER.search(content, place):
        place, marker = found.end(), content[found.end() - 1]
        if marker == END:
            return place
        if marker not in ALONE:
            place += max(2, int.from_bytes(content[place : place + 2], "big"))
    return len(content)


def has_end(content: bytes) -> bool:
    """Whether a JPEG file has an EOI, as one that was cut off has not."""
    end = image_end(content)
    return content[end - 2 : end] == bytes([0xFF, END])


def sides(data: Bytes, frame: int) -> tuple[int, int]:
    """Height and width in pixels that the frame header at ``frame`` gives."""
    view = data.data
    return view[frame + 5] << 8 | view[frame + 6], view[frame + 7] << 8 | view[frame + 8]
