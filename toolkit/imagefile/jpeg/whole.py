"""Sees whether JPEGs are whole without making a pixel: their headers are read, their Huffman codes followed to the end.

Libjpeg stays the judge. `whole` vouches only for what libjpeg decodes without a word: baseline, one scan, every block
there, no byte too many before the end. All else, damage or a rarer kind of JPEG, it leaves to a decode. It is faster
than one because the values of the coefficients don't matter (`toolkit.imagefile.jpeg.huffman`): libjpeg's transform
without output took 2.4 times its processor time, a decode 3.2 times and more (`python -m toolkit.bench jpeg`).
The format is ITU-T T.81, its markers those of annex B.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from toolkit.compiled import compiled
from toolkit.imagefile.jpeg.huffman import Array, Int, Scans, follow, no_scans, no_tables

LARGEST = 65_500
"""Side in pixels; libjpeg takes no larger ones."""
QUANTIZATION = 4
"""The bit of the first quantization table, after those of the four Huffman tables."""


class Whole(NamedTuple):
    """A JPEG that decodes without a word."""

    width: int
    height: int
    has_exif: bool
    """Or XMP: either may say that it is to be turned."""


class _Own(threading.local):
    """The tables of a thread."""

    def __init__(self) -> None:
        self.tables = no_tables()


_own = _Own()


def whole(
    contents: Sequence[bytes], wanted: Callable[[int, int], bool] = lambda width, height: True
) -> list[Whole | None]:
    """What each grey or three-channel JPEG is whose every block is there; None where a decode has to tell.

    None too, and at once, where ``wanted`` says of its width and height that they are of no interest.
    """
    if not contents:
        return []
    scans, ends = no_scans(len(contents)), np.cumsum([len(content) for content in contents])
    together = np.frombuffer(b"".join(contents), np.uint8)
    _look_at_all(together, ends, scans)
    sizes = list(zip(scans.width.tolist(), scans.height.tolist(), strict=True))
    sound = scans.per_unit > 0
    sound &= np.array([wanted(*size) for size in sizes], bool)
    follow(together, ends, scans, sound, _own.tables)
    found = zip(sizes, scans.has_exif.tolist(), sound.tolist(), strict=True)
    return [Whole(*size, bool(has_exif)) if is_sound else None for size, has_exif, is_sound in found]


@compiled
def _look_at_all(content: Array, ends: Array, scans: Scans) -> None:
    """Describe the ``scans`` of the files that lie one after another in ``content``, up to ``ends``."""
    for file in range(len(ends)):
        _look(content[ends[file - 1] if file else 0 : ends[file]], file, scans)


@compiled
def _look(content: Array, file: Int, scans: Scans) -> None:
    """Read all up to the scan."""
    if len(content) < 4 or content[0] != 0xFF or content[1] != 0xD8:
        return
    tables, frame, at = 0, 0, 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker, start, end = content[at + 1], at + 4, at + 2 + _word(content, at + 2)
        if end < start or end > len(content):
            break
        at = end
        if (marker == 0xC0 or marker == 0xC1) and frame == 0 and end >= start + 9:  # one component's is the shortest
            frame = start
        elif marker == 0xC4 or marker == 0xDB:
            found = _tables(content, marker, start, end, scans.given[file])
            if found == 0:
                break
            tables |= found
        elif marker == 0xDD and end == start + 2:
            scans.interval[file] = _word(content, start)
        elif marker == 0xDA and frame > 0:
            count, units = _blocks(content, frame, start, end, tables, scans.blocks[file])
            scans.width[file], scans.height[file] = _word(content, frame + 3), _word(content, frame + 1)
            scans.start[file], scans.per_unit[file], scans.units[file] = end, count, units
            break
        elif not (_is_known(content, marker, start, end) or marker == 0xFE):
            break
        else:
            scans.has_exif[file] |= marker == 0xE1 and _may_turn(content, start, end)


@compiled
def _may_turn(content: Array, start: Int, end: Int) -> Any:
    """Whether an APP1 segment is EXIF or XMP, which may say that the picture is to be turned."""
    return _begins(content, start, end, b"Exif\0\0") or _begins(content, start, end, b"http://ns.adobe.com/xap/1.0/\0")


@compiled
def _word(content: Array, at: Int) -> Int:
    return np.int64(content[at]) << 8 | np.int64(content[at + 1])


@compiled
def _begins(content: Array, start: Int, end: Int, name: bytes) -> Int:
    if end - start < len(name):
        return 0
    for i in range(len(name)):
        if content[start + i] != name[i]:
            return 0
    return 1


@compiled
def _is_known(content: Array, marker: Int, start: Int, end: Int) -> Any:
    """Whether an APP segment is one that libjpeg has nothing to say of."""
    if marker == 0xE0 and _begins(content, start, end, b"JFIF\0"):
        return end - start >= 14 and content[start + 5] == 1
    if marker == 0xEE and _begins(content, start, end, b"Adobe"):
        return end - start >= 12 and content[start + 11] <= 1
    return 0xE0 <= marker <= 0xEF


@compiled
def _tables(content: Array, marker: Int, start: Int, end: Int, given: Array) -> Int:
    """Which tables a segment defines, a bit each: Huffman's DC 0, 1, AC 0, 1, and from `QUANTIZATION` on its others."""
    if marker == 0xC4:
        return _huffman(content, start, end, given)
    return _quantization(content, start, end) << QUANTIZATION


@compiled
def _quantization(content: Array, start: Int, end: Int) -> Int:
    """Which of the tables 0 to 3 a segment defines, a bit each; 0: it is none of an 8-bit JPEG's."""
    found: Int = 0
    while start < end:
        if content[start] > 3:
            return 0
        found |= 1 << np.int64(content[start])
        start += 65
    return found if start == end else 0


@compiled
def _huffman(content: Array, start: Int, end: Int, given: Array) -> Int:
    """Take over the tables of a segment; which they are, a bit each; 0: it is none of a baseline JPEG's."""
    found: Int = 0
    while start + 17 <= end:
        number, kind = content[start] & 15, content[start] >> 4
        symbols = 0
        for i in range(16):
            symbols += content[start + 1 + i]
        if number > 1 or kind > 1 or symbols > 256 or start + 17 + symbols > end:
            return 0
        table = 2 * kind + number
        given[table] = 0
        given[table, : 16 + symbols] = content[start + 1 : start + 17 + symbols]
        found |= 1 << table
        start += 17 + symbols
    return found if start == end else 0


@compiled
def _blocks(content: Array, frame: Int, start: Int, end: Int, tables: Int, blocks: Array) -> tuple[Int, Int]:
    """Fill in the tables (DC + 2 AC) of the blocks of a unit; how many those are, and how many units; 0: not known."""
    across, down = _sampling(content, frame, start, end)
    if across == 0:
        return 0, 0
    count, components = 0, np.int64(content[frame + 5])
    for i in range(components):
        table = _table(content, frame + 6 + 3 * i, start + 1 + 2 * i, tables)
        if table < 0 or (i > 0 and content[frame + 7 + 3 * i] != 0x11) or _comes_twice(content, frame, i):
            return 0, 0
        for _ in range(across * down if i == 0 else 1):
            blocks[count] = table
            count += 1
    height, width = _word(content, frame + 1), _word(content, frame + 3)
    return count, (-(-width // (8 * across))) * (-(-height // (8 * down)))


@compiled
def _sampling(content: Array, frame: Int, start: Int, end: Int) -> tuple[Int, Int]:
    """How many blocks of the first channel a unit has, across and down; 0: not an interleaved baseline picture."""
    size, components = _word(content, frame - 2), np.int64(content[frame + 5])
    height, width = _word(content, frame + 1), _word(content, frame + 3)
    if content[frame] != 8 or not (0 < height <= LARGEST and 0 < width <= LARGEST):
        return 0, 0
    if (components != 1 and components != 3) or size != 8 + 3 * components or end - start != 4 + 2 * components:
        return 0, 0
    if content[start] != components or _word(content, end - 3) != 63 or content[end - 1] != 0:
        return 0, 0
    across: Int = np.int64(content[frame + 7]) >> 4
    down: Int = np.int64(content[frame + 7]) & 15
    if not (down == 1 and (across == 1 or across == 2 or across == 4)) and not (down == 2 and 1 <= across <= 2):
        return 0, 0
    if components == 1:
        return 1, 1  # a lone channel is stored block after block, whatever it says
    return across, down


@compiled
def _table(content: Array, own: Int, scanned: Int, tables: Int) -> Int:
    """The tables (DC + 2 AC) of a channel described at ``own`` and ``scanned``; -1: they are not among ``tables``."""
    dc, ac = np.int64(content[scanned + 1]) >> 4, np.int64(content[scanned + 1]) & 15
    if content[own] != content[scanned] or content[own + 2] > 3 or dc > 1 or ac > 1:
        return -1
    if not (tables >> dc & 1 and tables >> (2 + ac) & 1 and tables >> (QUANTIZATION + content[own + 2]) & 1):
        return -1
    return dc + 2 * ac


@compiled
def _comes_twice(content: Array, frame: Int, i: Int) -> Any:
    """Whether channel ``i`` has the name of one before it."""
    found = False
    for other in range(i):
        found |= content[frame + 6 + 3 * i] == content[frame + 6 + 3 * other]
    return found
