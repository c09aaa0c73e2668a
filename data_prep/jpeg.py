"""Sees whether a JPEG is whole without making a pixel: it follows the Huffman codes from the first to the last block.

Libjpeg stays the judge. `whole` vouches only for what libjpeg decodes without a word: baseline, one scan, every block
there, no byte too many before the end. All else, damage or a rarer kind of JPEG, it leaves to a decode. It is faster
than one because a look-up passes several coefficients at once: two on average, and their values don't matter.
The format is ITU-T T.81, its markers those of annex B, its codes those of annexes C and F.
"""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from toolkit.compiled import compiled

Array = NDArray[Any]
Int = Any  # of 64 bits, signed or not: what the machine code counts with

LOOK, LOOK_DC = 12, 9
"""Bits that one look-up takes in: the tables in use fit a core's first cache."""
BITS, STEP, END = 63, 6, 1 << 15
"""An entry of a table: bits passed, 64 times the coefficients passed, and the end of the block. 0: a longer code."""
AT_ONCE = 20
"""Bits that a look-up of several codes passes at most: with 33 at hand enough for the next look-up are left."""
FURTHEST = 640
"""Words of zeros after a stream: a unit that goes astray ends in them, with 10 blocks of 64 codes of 31 bits."""
LARGEST = 65_500
"""Side in pixels; libjpeg takes no larger ones."""


class Tables(NamedTuple):
    """Huffman tables DC 0, DC 1, AC 0, AC 1. They are kept from one file to the next, for most have the same."""

    given: NDArray[np.uint8]
    """(4, 272): as the file has them, 16 counts and the symbols."""
    last: NDArray[np.int64]
    """(4, 17): the largest code of each length, -1 where there is none."""
    shift: NDArray[np.int64]
    """(4, 17): what is added to a code of each length to have its symbol's number."""
    dc: NDArray[np.uint16]
    """(2, 512): entries for the next bits, of one DC code and the number after it."""
    one: NDArray[np.uint16]
    """(2, 4096): entries of one AC code."""
    more: NDArray[np.uint16]
    """(2, 4096): entries of all AC codes that these bits begin with."""


class Whole(NamedTuple):
    """A JPEG that decodes without a word."""

    width: int
    height: int
    has_exif: bool


class _Own(threading.local):
    """The tables of a thread."""

    def __init__(self) -> None:
        self.tables = Tables(
            np.zeros((4, 272), np.uint8),
            np.zeros((4, 17), np.int64),
            np.zeros((4, 17), np.int64),
            np.zeros((2, 1 << LOOK_DC), np.uint16),
            np.zeros((2, 1 << LOOK), np.uint16),
            np.zeros((2, 1 << LOOK), np.uint16),
        )


_own = _Own()


def whole(content: bytes, wanted: Callable[[int, int], bool] = lambda width, height: True) -> Whole | None:
    """What a grey or three-channel JPEG is whose every block is there; None where a decode has to tell.

    None too, and at once, where ``wanted`` says of its width and height that they are of no interest.
    """
    array, tables, blocks = np.frombuffer(content, np.uint8), _own.tables, np.empty(10, np.int64)
    width, height, exif, start, count, units, interval = _look(array, tables, blocks)
    if count == 0 or not wanted(width, height) or not _scan(array, start, blocks[:count], units, interval, tables):
        return None
    return Whole(width, height, bool(exif))


@compiled
def _look(content: Array, tables: Tables, blocks: Array) -> tuple[Int, ...]:
    """Read all up to the scan.

    Returns width, height, 1 where there is EXIF data, the scan's start, how many ``blocks`` are in a unit, how many
    units there are in all, and after how many a restart marker comes. No blocks: nothing can be vouched for.
    """
    nothing = (0, 0, 0, 0, 0, 0, 0)
    if len(content) < 4 or content[0] != 0xFF or content[1] != 0xD8:
        return nothing
    huffman, quantization = 0, 0  # which tables are there, a bit each
    frame, interval, exif, at = 0, 0, 0, 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker, start, end = content[at + 1], at + 4, at + 2 + _word(content, at + 2)
        if end < start or end > len(content):
            break
        at = end
        if (marker == 0xC0 or marker == 0xC1) and frame == 0:
            frame = start
        elif marker == 0xC4:
            found = _huffman(content, start, end, tables)
            if found == 0:
                break
            huffman |= found
        elif marker == 0xDB:
            found = _quantization(content, start, end)
            if found == 0:
                break
            quantization |= found
        elif marker == 0xDD and end == start + 2:
            interval = _word(content, start)
        elif marker == 0xDA and frame > 0:
            count, units = _blocks(content, frame, start, end, huffman, quantization, blocks)
            return _word(content, frame + 3), _word(content, frame + 1), exif, end, count, units, interval
        elif marker == 0xE1:
            exif |= _begins(content, start, end, b"Exif\0\0")
        elif not (_is_known(content, marker, start, end) or marker == 0xFE):
            break
    return nothing


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
def _huffman(content: Array, start: Int, end: Int, tables: Tables) -> Int:
    """Take over the tables of a segment; which they are, a bit each; 0: one is not valid."""
    found: Int = 0
    while start + 17 <= end:
        number, kind = content[start] & 15, content[start] >> 4
        symbols = 0
        for i in range(16):
            symbols += content[start + 1 + i]
        if number > 1 or kind > 1 or symbols > 256 or start + 17 + symbols > end:
            return 0
        table = 2 * kind + number
        same = True
        for i in range(16 + symbols):
            if tables.given[table, i] != content[start + 1 + i]:
                same = False
                tables.given[table, i] = content[start + 1 + i]
        if not same and not _build(table, symbols, tables):
            tables.given[table] = 0
            return 0
        found |= 1 << table
        start += 17 + symbols
    return found if start == end else 0


@compiled
def _build(table: Int, symbols: Int, tables: Tables) -> Any:
    """Make the look-up entries of a table; False where its codes are too many for their lengths."""
    given, last, shift = tables.given[table], tables.last[table], tables.shift[table]
    code: Int = 0
    number: Int = 0
    for length in range(1, 17):
        count = np.int64(given[length - 1])
        shift[length] = number - code
        code, number = code + count, number + count
        last[length] = code - 1 if count else -1
        if code > 1 << length:
            return False
        code <<= 1
    if table < 2:
        for i in range(symbols):
            if given[16 + i] > 11:
                return False
    lengths = np.zeros(1 << LOOK, np.int64)
    entries = tables.dc[table] if table < 2 else tables.one[table - 2]
    look = LOOK_DC if table < 2 else LOOK
    entries[:] = 0
    for length in range(1, look + 1):
        for code in range(last[length] + 1 - np.int64(given[length - 1]), last[length] + 1):
            first = code << (look - length)
            entry = _entry(length, np.int64(given[16 + code + shift[length]]), table < 2)
            entries[first : first + (1 << (look - length))] = entry
            lengths[first : first + (1 << (look - length))] = length
    if table >= 2:
        _join(entries, lengths, tables.more[table - 2])
    return True


@compiled
def _entry(length: Int, symbol: Int, dc: bool) -> Int:
    if dc:
        return length + symbol
    run, size = symbol >> 4, symbol & 15
    if size == 0 and run != 15:
        return END | length
    return (run + 1) << STEP | (length + size)


@compiled
def _join(one: Array, lengths: Array, more: Array) -> None:
    """Fill ``more`` from ``one``: codes one after another, as long as they lie within the bits at hand."""
    for bits in range(1 << LOOK):
        entry = np.int64(one[bits])
        while 0 < entry < END:
            passed = entry & BITS
            if passed >= LOOK:
                break
            rest = (bits << passed) & ((1 << LOOK) - 1)
            following = np.int64(one[rest])
            steps = (entry >> STEP) + ((following & (END - 1)) >> STEP)
            if following == 0 or passed + lengths[rest] > LOOK or passed + (following & BITS) > AT_ONCE or steps > 63:
                break
            entry = (following & END) | steps << STEP | (passed + (following & BITS))
        more[bits] = entry if entry & BITS <= AT_ONCE else 0


@compiled
def _blocks(
    content: Array, frame: Int, start: Int, end: Int, huffman: Int, quantization: Int, blocks: Array
) -> tuple[Int, Int]:
    """Fill in the tables (DC + 2 AC) of the blocks of a unit; how many those are, and how many units; 0: not known."""
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
    if not (down == 1 and (across == 1 or across == 2 or across == 4)) and not (down == 2 and across <= 2):
        return 0, 0
    if across == 0:
        return 0, 0
    if components == 1:
        across = down = 1  # a lone channel is stored block after block, whatever it says
    count = 0
    for i in range(components):
        own, scanned = frame + 6 + 3 * i, start + 1 + 2 * i
        dc, ac = np.int64(content[scanned + 1]) >> 4, np.int64(content[scanned + 1]) & 15
        if content[own] != content[scanned] or (i > 0 and content[own + 1] != 0x11) or content[own + 2] > 3:
            return 0, 0
        for other in range(i):
            if content[own] == content[frame + 6 + 3 * other]:
                return 0, 0
        if dc > 1 or ac > 1 or not (huffman >> dc & 1 and huffman >> (2 + ac) & 1):
            return 0, 0
        if not quantization >> content[own + 2] & 1:
            return 0, 0
        for _ in range(across * down if i == 0 else 1):
            blocks[count] = dc + 2 * ac
            count += 1
    units = (-(-width // (8 * across))) * (-(-height // (8 * down)))
    return count, units


@compiled
def _scan(content: Array, at: Int, blocks: Array, units: Int, interval: Int, tables: Tables) -> Any:
    """Whether ``units`` are there from ``at`` on, restart markers where they belong, and then the end."""
    words = np.empty((len(content) - at) // 8 + FURTHEST + 2, np.uint64)
    restarts = 0
    while True:
        now = min(units, interval) if interval else units
        length, at = _unstuffed(content, at, words)
        if at < 0 or not _units(words.view(np.uint32), length, blocks, now, tables):
            return False
        units -= now
        if units == 0:
            return content[at + 1] == 0xD9
        if content[at + 1] != 0xD0 + restarts % 8:
            return False
        restarts, at = restarts + 1, at + 2


@compiled
def _unstuffed(content: Array, at: Int, words: Array) -> tuple[Int, Int]:
    """Lay the stream up to the next marker into ``words``, first byte uppermost, FF 00 as FF, zeros after it.

    Returns its bytes and the place of the marker, -1 where none comes.
    """
    byte, word, bits, i = np.uint64(at), np.uint64(0), np.uint64(0), np.uint64(0)
    words[0] = 0
    while byte < np.uint64(len(content)):
        if byte + np.uint64(8) <= np.uint64(len(content)):
            word = _eight(content, byte)
            if (~word - np.uint64(0x0101010101010101)) & word & np.uint64(0x8080808080808080) == 0:  # none is FF
                words[i] |= word >> bits
                i += np.uint64(1)
                words[i] = word << np.uint64(1) << (np.uint64(63) - bits)
                byte += np.uint64(8)
                continue
        for _ in range(8):
            if content[byte] == 0xFF:
                if byte + np.uint64(1) >= np.uint64(len(content)):
                    return 0, -1
                if content[byte + np.uint64(1)] != 0:
                    words[i + np.uint64(1) : i + np.uint64(FURTHEST)] = 0
                    return np.int64(i) * 8 + np.int64(bits >> np.uint64(3)), np.int64(byte)
            words[i] |= np.uint64(content[byte]) << (np.uint64(56) - bits)
            byte += np.uint64(2 if content[byte] == 0xFF else 1)
            bits += np.uint64(8)
            if bits == 64:
                bits, i = np.uint64(0), i + np.uint64(1)
                words[i] = 0
            if byte >= np.uint64(len(content)):
                break
    return 0, -1


@compiled
def _units(words: Array, length: Int, blocks: Array, units: Int, tables: Tables) -> Any:
    """Whether a stream of ``length`` bytes in 32-bit ``words`` is so many units, and no byte more."""
    dcs, ones, mores = tables.dc.reshape(-1), tables.one.reshape(-1), tables.more.reshape(-1)
    bits, left, word = _refilled(words, np.uint64(0), np.uint64(0), np.uint64(0))
    for _ in range(units):
        for tables_of in blocks:
            dc, ac = np.uint64(tables_of & 1), np.uint64(tables_of >> 1)
            bits, left, word = _refilled(words, bits, left, word)
            entry = np.uint64(dcs[dc << np.uint64(LOOK_DC) | bits >> np.uint64(64 - LOOK_DC)])
            if entry == 0:
                entry = np.uint64(_long(bits, np.int64(dc), tables))
                if entry == 0:
                    return False
            bits, left = bits << (entry & np.uint64(BITS)), left - (entry & np.uint64(BITS))
            if left < 32:
                bits, left, word = _refilled(words, bits, left, word)
            passed = np.uint64(1)
            while entry < END and passed < 64:
                look = ac << np.uint64(LOOK) | bits >> np.uint64(64 - LOOK)
                entry = np.uint64(mores[look])
                bits, left, word = _refilled(words, bits, left, word)  # while the look-up is under way
                if entry == 0 or passed + (entry >> np.uint64(STEP) & np.uint64(63)) > 63:
                    entry = np.uint64(ones[look])
                    if entry == 0:
                        entry = np.uint64(_long(bits, np.int64(ac) + 2, tables))
                        if entry == 0:
                            return False
                    bits, left = bits << (entry & np.uint64(BITS)), left - (entry & np.uint64(BITS))
                    bits, left, word = _refilled(words, bits, left, word)
                else:
                    bits, left = bits << (entry & np.uint64(BITS)), left - (entry & np.uint64(BITS))
                passed += entry >> np.uint64(STEP) & np.uint64(63)
            if passed > 64:
                return False
        if word > np.uint64(length // 4 + 2):
            return False
    unread = 8 * length - (32 * np.int64(word) - np.int64(left))
    return 0 <= unread < 8


@numba.njit(forceinline=True)
def _refilled(words: Array, bits: Int, left: Int, word: Int) -> tuple[Int, Int, Int]:
    """The next bits (uppermost first), how many are valid, at least 33, and the next word. No branch to mispredict."""
    short = np.uint64(left <= 32)
    more = np.uint64(words[word ^ np.uint64(1)]) << (np.uint64(32) - left & np.uint64(63))
    return bits | more & (np.uint64(0) - short), left + (short << np.uint64(5)), word + short


@numba.njit(forceinline=True)
def _eight(content: Array, at: Int) -> Int:
    """Eight bytes, the first one uppermost."""
    word = np.uint64(content[at])
    for i in range(1, 8):
        word = word << np.uint64(8) | np.uint64(content[at + np.uint64(i)])
    return word


@compiled
def _long(bits: Int, table: Int, tables: Tables) -> Int:
    """The entry of a code that is longer than a look-up; 0: there is no such code."""
    for length in range(1, 17):
        code = np.int64(bits >> np.uint64(64 - length))
        if code <= tables.last[table, length]:
            symbol = np.int64(tables.given[table, 16 + code + tables.shift[table, length]])
            return _entry(length, symbol, table < 2)
    return 0
