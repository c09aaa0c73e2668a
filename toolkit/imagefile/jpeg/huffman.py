"""Follows the Huffman codes of JPEG scans from the first to the last block, two scans at a time.

A look-up tells how many bits to pass, and only then where the next one is: a core would wait for most of that. Two
scans take turns, so that one is looked up while the other is being passed, and what a look-up leads to (the next
coefficients, the next block) is chosen by arithmetic: a branch there would be guessed wrong once a block.
The codes are those of ITU-T T.81, annexes C and F.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir  # comes with numba, which makes its machine code with it
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from toolkit.compiled import compiled

Array = NDArray[Any]
Int = Any  # of 64 bits, signed or not: what the machine code counts with

LOOK = 12
"""Bits that one look-up takes in."""
BITS, STEP, STEPS, END = 63, 6, 127, 1 << 15
"""An entry of a table: bits passed, 64 times the coefficients passed, and the end of the block."""
OTHERWISE = 64 << STEP
"""The entry of what no look-up tells: more coefficients than any block has."""
BEYOND = 16
"""Bytes of zeros after a stream: a look-up begins within it, passes at most 31 bits and reads eight bytes."""
ASTRAY = 64
"""As many coefficients are passed where no code is: what comes is no JPEG's."""
FIRST, MORE, LOOKS = 0, 4, 6
"""The look-ups of a file: four for the begin of a block, by DC + 2 AC, and two for what follows, by AC."""
BASE = 32
"""A state of a lane is where its table begins, and from this bit on where what comes after it stands in the plan."""


A, B = np.int64(0), np.int64(1)
"""The two lanes. (Of plain numbers the compiler makes a function for each.)"""
BEGIN, FURTHER = np.int64(0), np.int64(1)
"""Where in its block a lane is."""


class Scans(NamedTuple):
    """The scans of n files, as their headers describe them; each array has a row for each."""

    width: NDArray[np.int64]
    height: NDArray[np.int64]
    has_exif: NDArray[np.int64]
    start: NDArray[np.int64]
    """Where the scan begins in the file."""
    units: NDArray[np.int64]
    per_unit: NDArray[np.int64]
    """Blocks in a unit; 0: nothing can be vouched for."""
    interval: NDArray[np.int64]
    """Units after which a restart marker comes; 0: none does."""
    blocks: NDArray[np.int64]
    """(n, 10): the tables of each block of a unit, DC + 2 AC."""
    given: NDArray[np.uint8]
    """(n, 4, 272): the tables DC 0, DC 1, AC 0, AC 1 as the file has them, 16 counts and the symbols."""


class Tables(NamedTuple):
    """What is made of the tables of two files. They are kept from one file to the next, for most have the same."""

    given: NDArray[np.uint8]
    """(2, 4, 272): what they were made of."""
    pairs: NDArray[np.int64]
    """(2,): for which DC + 2 AC, a bit each."""
    last: NDArray[np.int64]
    """(2, 4, 17): the largest code of each length, -1 where there is none."""
    shift: NDArray[np.int64]
    """(2, 4, 17): what is added to a code of each length to have its symbol's number."""
    one: NDArray[np.uint16]
    """(2, 4, 4096): entries for the next bits, of the code they begin with and the number after it."""
    look: NDArray[np.uint16]
    """(2, 6, 4096): entries of all codes that these bits begin with."""


def no_scans(files: int) -> Scans:
    """Room for as many."""
    arrays: list[Any] = [np.zeros(files, np.int64) for _ in range(7)]
    arrays += [np.zeros((files, 10), np.int64), np.zeros((files, 4, 272), np.uint8)]
    return Scans(*arrays)


def no_tables() -> Tables:
    """Of no file."""
    return Tables(
        np.zeros((2, 4, 272), np.uint8),
        np.zeros(2, np.int64),
        np.zeros((2, 4, 17), np.int64),
        np.zeros((2, 4, 17), np.int64),
        np.zeros((2, 4, 1 << LOOK), np.uint16),
        np.zeros((2, 6, 1 << LOOK), np.uint16),
    )


class _Lane(NamedTuple):
    """A stream that is being followed."""

    bit: Int
    """The next one, counted from the begin of all streams."""
    passed: Int
    """Coefficients of the block that were passed; `ASTRAY`: there is no such code."""
    state: Int
    blocks: Int
    """How many are left, this one included."""
    limit: Int
    """The bit after the last one."""


class _Lanes(NamedTuple):
    """What the two lanes have beside that; each array but the first has a row for either."""

    streams: NDArray[np.uint8]
    """One behind the other."""
    begin: NDArray[np.int64]
    """Where in that a lane's stream begins."""
    plan: NDArray[np.uint64]
    """(2, 40): the states that come after each one, within its block and at the end of it; a block has two states."""
    file: NDArray[np.int64]
    slot: NDArray[np.int64]
    """Which of the two `Tables` are its file's."""
    at: NDArray[np.int64]
    """Where in the file the next stream begins."""
    units: NDArray[np.int64]
    """Units of the file that come after this stream."""
    restarts: NDArray[np.int64]


@compiled
def follow(content: Array, ends: Array, scans: Scans, sound: Array, tables: Tables) -> None:
    """Leave those files ``sound`` whose scans are whole, of files that lie one after another, up to their ``ends``.

    A whole scan has all its units and not a byte more, restart markers where they belong, and then the end.
    """
    lanes = _no_lanes(ends)
    streams, look, plan = lanes.streams, tables.look.reshape(-1), lanes.plan.reshape(-1)
    one, given, last, shift = tables.one, tables.given, tables.last, tables.shift
    a = _next_stream(A, content, ends, scans, sound, lanes, tables)
    b = _next_stream(B, content, ends, scans, sound, lanes, tables)
    while a.blocks > 0 or b.blocks > 0:
        if a.blocks > 0 and b.blocks > 0:
            a, b = _both_run(a, b, streams, look, plan)
        elif a.blocks > 0:
            a = _one_runs(a, streams, look, plan)
        else:
            b = _one_runs(b, streams, look, plan)
        if not _is_plain(a, _looked_up(a, _bits(a, streams), look)):
            a = _single_turn(a, streams, plan, one, given, last, shift)
        if not _is_plain(b, _looked_up(b, _bits(b, streams), look)):
            b = _single_turn(b, streams, plan, one, given, last, shift)
        if _has_ended(a):
            _judge(a, A, sound, lanes)
            a = _next_stream(A, content, ends, scans, sound, lanes, tables)
        if _has_ended(b):
            _judge(b, B, sound, lanes)
            b = _next_stream(B, content, ends, scans, sound, lanes, tables)


@compiled
def _both_run(a: _Lane, b: _Lane, streams: Array, look: Array, plan: Array) -> tuple[_Lane, _Lane]:
    """Go on until one of them needs attention."""
    while True:
        bits_a, bits_b = _bits(a, streams), _bits(b, streams)
        for _ in range(2):
            of_a, of_b = _looked_up(a, bits_a, look), _looked_up(b, bits_b, look)
            if not (_is_plain(a, of_a) and _is_plain(b, of_b)):
                return a, b
            a, b = _moved(a, of_a, plan), _moved(b, of_b, plan)
            bits_a, bits_b = bits_a << (of_a & np.uint64(BITS)), bits_b << (of_b & np.uint64(BITS))


@compiled
def _one_runs(lane: _Lane, streams: Array, look: Array, plan: Array) -> _Lane:
    while True:
        bits = _bits(lane, streams)
        for _ in range(2):
            entry = _looked_up(lane, bits, look)
            if not _is_plain(lane, entry):
                return lane
            lane = _moved(lane, entry, plan)
            bits = bits << (entry & np.uint64(BITS))


@compiled
def _no_lanes(ends: Array) -> _Lanes:
    longest: Int = ends[0]
    for file in range(1, len(ends)):
        longest = max(longest, ends[file] - ends[file - 1])
    begin, zeros = np.array([0, longest + BEYOND]), np.zeros((4, 2), np.int64)
    streams, plan = np.empty(2 * begin[1], np.uint8), np.zeros((2, 40), np.uint64)
    return _Lanes(streams, begin, plan, np.full(2, -1), zeros[0], zeros[1], zeros[2], zeros[3])


@numba.njit(forceinline=True)
def _bits(lane: _Lane, streams: Array) -> Int:
    """The next 57 bits or more, uppermost first."""
    return _eight(streams, lane.bit >> np.uint64(3)) << (lane.bit & np.uint64(7))


@numba.njit(forceinline=True)
def _looked_up(lane: _Lane, bits: Int, look: Array) -> Int:
    base = lane.state & np.uint64((1 << BASE) - 1)
    return np.uint64(look[base + (bits >> np.uint64(64 - LOOK))])


@numba.njit(forceinline=True)
def _has_ended(lane: _Lane) -> Any:
    """Whether a stream is at its end, well or not; a lane without one is not."""
    return lane.limit > 0 and (lane.blocks == 0 or lane.bit > lane.limit or lane.passed == ASTRAY)


@numba.njit(forceinline=True)
def _is_plain(lane: _Lane, entry: Int) -> Any:
    """Whether blocks are left, the lane is within its stream, and the entry is of codes that are within the block."""
    passed = lane.passed + (entry >> np.uint64(STEP) & np.uint64(STEPS))
    return passed < 64 and lane.blocks > 0 and lane.bit <= lane.limit


@numba.njit(forceinline=True)
def _moved(lane: _Lane, entry: Int, plan: Array) -> _Lane:
    """The lane after an entry: further in its block, or at the begin of the next one."""
    end = entry >> np.uint64(15)
    passed = lane.passed + (entry >> np.uint64(STEP) & np.uint64(STEPS)) & (end - np.uint64(1))
    state = plan[(lane.state >> np.uint64(BASE)) + end]
    return _Lane(lane.bit + (entry & np.uint64(BITS)), passed, state, lane.blocks - end, lane.limit)


@compiled
def _single_turn(
    lane: _Lane, streams: Array, plan: Array, one: Array, given: Array, last: Array, shift: Array
) -> _Lane:
    """The lane after the next code alone, which may be the last of 64 coefficients.

    The arrays are those of `Tables`, one by one: taking them out of it costs more than the rest.
    """
    if lane.blocks == 0 or lane.bit > lane.limit:
        return lane
    look = np.int64(lane.state & np.uint64((1 << BASE) - 1)) >> LOOK
    slot, look = look // LOOKS, look % LOOKS
    table = look & 1 if look < MORE else 2 + look - MORE
    entry = _single(_bits(lane, streams), slot, table, one, given, last, shift)
    passed = np.int64(lane.passed) + (entry >> STEP & STEPS)
    if passed > 64:
        return _Lane(lane.bit, np.uint64(ASTRAY), lane.state, lane.blocks, lane.limit)
    return _moved(lane, np.uint64(entry | END if passed == 64 else entry), plan)


@compiled
def _single(bits: Int, slot: Int, table: Int, one: Array, given: Array, last: Array, shift: Array) -> Int:
    """The entry of the next code; one of more coefficients than a block has where there is no such code."""
    entry = np.int64(one[slot, table, bits >> np.uint64(64 - LOOK)])
    if entry != OTHERWISE:
        return entry
    for length in range(LOOK + 1, 17):
        code = np.int64(bits >> np.uint64(64 - length))
        if code <= last[slot, table, length]:
            return _entry(length, np.int64(given[slot, table, 16 + code + shift[slot, table, length]]), table < 2)
    return 65 << STEP


@compiled
def _entry(length: Int, symbol: Int, dc: bool) -> Int:
    if dc:
        return 1 << STEP | (length + symbol)
    run, size = symbol >> 4, symbol & 15
    if size == 0 and run != 15:
        return END | length
    return (run + 1) << STEP | (length + size)


@compiled
def _judge(lane: _Lane, n: Int, sound: Array, lanes: _Lanes) -> None:
    """At the end of a stream: its file is not ``sound`` if that was not its last bit but seven at most."""
    if lane.blocks > 0 or lane.bit > lane.limit or lane.bit + np.uint64(8) <= lane.limit:
        sound[lanes.file[n]], lanes.units[n] = False, 0


@compiled
def _next_stream(
    n: Int, content: Array, ends: Array, scans: Scans, sound: Array, lanes: _Lanes, tables: Tables
) -> _Lane:
    """The lane at the begin of its next stream: of its file, or of the next one; without blocks when there is none."""
    begin, zero = lanes.begin[n], np.uint64(0)
    while lanes.units[n] > 0 or _takes_a_file(n, scans, sound, lanes, tables):
        file = lanes.file[n]
        stored = content[ends[file - 1] if file else 0 : ends[file]]
        now = min(lanes.units[n], scans.interval[file]) if scans.interval[file] else lanes.units[n]
        length, at = _unstuffed(stored, lanes.at[n], lanes.streams[begin:])
        lanes.units[n] -= now
        marker = 0xD0 + lanes.restarts[n] % 8 if lanes.units[n] else 0xD9
        if length == 0 or stored[at + 1] != marker:
            sound[file], lanes.units[n] = False, 0
            continue
        lanes.at[n] = at + 2
        lanes.restarts[n] += 1
        first, blocks, limit = 8 * begin, now * scans.per_unit[file], 8 * (begin + length)
        return _Lane(
            np.uint64(first), zero, _state(n, np.int64(0), BEGIN, scans, lanes), np.uint64(blocks), np.uint64(limit)
        )
    return _Lane(zero, zero, zero, zero, zero)


@compiled
def _takes_a_file(n: Int, scans: Scans, sound: Array, lanes: _Lanes, tables: Tables) -> Any:
    """Have the lane begin with the next file that no lane has taken yet; False when there is none."""
    for file in range(max(lanes.file[0], lanes.file[1]) + 1, len(sound)):
        if not sound[file]:
            continue
        lanes.file[n] = file
        slot = _slot(scans.given[file], scans.blocks[file, : scans.per_unit[file]], lanes.slot[1 - n], tables)
        if slot < 0:
            sound[file] = False
            continue
        lanes.slot[n], lanes.at[n] = slot, scans.start[file]
        lanes.units[n], lanes.restarts[n] = scans.units[file], 0
        for block in range(scans.per_unit[file]):
            lanes.plan[n, 4 * block] = lanes.plan[n, 4 * block + 2] = _state(n, block, FURTHER, scans, lanes)
            after = (block + 1) % scans.per_unit[file]
            lanes.plan[n, 4 * block + 1] = lanes.plan[n, 4 * block + 3] = _state(n, after, BEGIN, scans, lanes)
        return True
    return False


@compiled
def _state(n: Int, block: Int, is_further: Int, scans: Scans, lanes: _Lanes) -> Int:
    """A lane's state at the begin of a block, or further in it."""
    pair = scans.blocks[lanes.file[n], block]
    table = LOOKS * lanes.slot[n] + (MORE + (pair >> 1) if is_further else FIRST + pair)
    return np.uint64((40 * n + 4 * block + 2 * is_further) << BASE | table << LOOK)


@compiled
def _slot(given: Array, blocks: Array, busy: Int, tables: Tables) -> Int:
    """Which `Tables` are a file's: made now, if none are, but not in place of the busy ones; -1: they cannot be."""
    pairs: Int = 0
    for pair in blocks:
        pairs |= 1 << pair
    for slot in range(2):
        if pairs & ~tables.pairs[slot] == 0 and np.array_equal(tables.given[slot], given):
            return slot
    slot = 1 - busy
    lengths = np.zeros((4, 1 << LOOK), np.uint8)
    tables.given[slot], tables.pairs[slot] = given, 0
    for table in range(4):
        if not _is_built(slot, table, lengths[table], tables):
            return -1
    tables.pairs[slot] = pairs
    for pair in range(4):
        if pairs >> pair & 1:
            dc, ac = pair & 1, 2 + (pair >> 1)
            _join(tables.one[slot, dc], tables.one[slot, ac], lengths[ac], tables.look[slot, FIRST + pair])
            _join(tables.one[slot, ac], tables.one[slot, ac], lengths[ac], tables.look[slot, MORE + (pair >> 1)])
    return slot


@compiled
def _is_built(slot: Int, table: Int, lengths: Array, tables: Tables) -> Any:
    """Make the entries of a table's single codes; False where it has too many of a length, or DC ones of no use."""
    given, last, shift = tables.given[slot, table], tables.last[slot, table], tables.shift[slot, table]
    code: Int = 0
    number: Int = 0
    entries = tables.one[slot, table]
    entries[:] = OTHERWISE
    for length in range(1, 17):
        count = np.int64(given[length - 1])
        shift[length] = number - code
        last[length] = code + count - 1 if count else -1
        if count and code + count >= 1 << length:  # no code is all ones
            return False
        for i in range(count):
            symbol = np.int64(given[16 + number + i])
            if table < 2 and symbol > 11:
                return False
            if length <= LOOK:
                first, after = (code + i) << (LOOK - length), (code + i + 1) << (LOOK - length)
                entries[first:after] = _entry(length, symbol, table < 2)
                lengths[first:after] = length
        code, number = (code + count) << 1, number + count
    return True


@compiled
def _join(begin: Array, following: Array, lengths: Array, joined: Array) -> None:
    """Fill ``joined``: a code of ``begin`` and those ``following``, as long as they lie within the bits at hand."""
    for bits in range(1 << LOOK):
        entry = np.int64(begin[bits])
        while entry < OTHERWISE and entry & BITS < LOOK:
            passed = entry & BITS
            rest = (bits << passed) & ((1 << LOOK) - 1)
            then = np.int64(following[rest])
            steps = (entry >> STEP) + (then >> STEP & STEPS)
            if passed + lengths[rest] > LOOK or steps > 63:
                break
            entry = then & END | steps << STEP | (passed + (then & BITS))
        joined[bits] = entry


@compiled
def _unstuffed(content: Array, at: Int, stream: Array) -> tuple[Int, Int]:
    """Copy all from ``at`` up to the next marker to ``stream``, FF 00 as FF, and zeros behind it.

    Returns its bytes and the place of the marker; no bytes where none comes.
    """
    byte, i = np.uint64(at), np.uint64(0)
    while byte + np.uint64(1) < np.uint64(len(content)):
        if byte + np.uint64(8) <= np.uint64(len(content)):
            word = _eight(content, byte)
            if (~word - np.uint64(0x0101010101010101)) & word & np.uint64(0x8080808080808080) == 0:  # none is FF
                for k in range(8):
                    stream[i + np.uint64(k)] = word >> np.uint64(56 - 8 * k)
                byte, i = byte + np.uint64(8), i + np.uint64(8)
                continue
        stream[i] = content[byte]
        if content[byte] == 0xFF:
            if content[byte + np.uint64(1)] != 0:
                stream[i : i + np.uint64(BEYOND)] = 0
                return np.int64(i), np.int64(byte)
            byte += np.uint64(1)
        byte, i = byte + np.uint64(1), i + np.uint64(1)
    return 0, -1


@intrinsic
def _eight(context: Any, content: Any, at: Any) -> Any:
    """Eight bytes, the first one uppermost. One load: the compiler does not make one of eight where few are needed."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(array.data, [arguments[1]])
        word = builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()))
        word.align = 1
        return builder.bswap(word)

    return types.uint64(content, types.uint64), generate
