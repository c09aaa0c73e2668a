"""Tables of MAT-files (version 5), read from their bytes: no size that such a file claims is believed.

scipy's reader takes what a file says of itself: a hundred bytes make it fill the memory, or end the process by their
depth. The format is MathWorks' "MAT-File Format" (2017), level 5; structures inside a table's cells are not entered.
"""

import struct
import zlib
from collections.abc import Iterator

PACKED, MATRIX = 15, 14  # miCOMPRESSED, miMATRIX
HEADER = 128
NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}
"""Types of numbers, as `struct` has them."""
TEXTS = {1: "utf-8", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
"""Types of characters; MATLAB writes miUINT16, others miUINT8 and UTF."""
CHARACTERS, STRUCTURES = 4, 2  # mxCHAR_CLASS, mxSTRUCT_CLASS
Value = str | float | None


def read_struct(content: bytes, name: str, limit: int) -> list[dict[str, Value]]:
    """The rows of the array of structures ``name``: a text or number by field, None for anything else.

    Raises ValueError where there is no such array, or the file unpacks to more than ``limit`` bytes.
    """
    order = "<" if content[126:HEADER] == b"IM" else ">"
    left = limit
    for kind, body in _elements(content[HEADER:], order):
        if kind == PACKED:
            body = zlib.decompressobj().decompress(body, left)
            left -= len(body)
            if left <= 0:
                raise ValueError(f"it unpacks to more than {limit:,} bytes")
            kind, body = next(_elements(body, order), (kind, b""))
        parts = [part for _, part in _elements(body, order)] if kind == MATRIX else []
        if parts[2:3] == [name.encode()] and _class(parts[0], order) == STRUCTURES and len(parts) > 4:
            return _rows(parts[3:], order)
    raise ValueError(f"it has no structures {name!r}")


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """The elements of a part of a file: type and content of each. A small one has both in eight bytes."""
    place = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack_from(order + "II", data, place)
        if small := kind >> 16:
            yield kind & 0xFFFF, data[place + 4 : place + 4 + min(small, 4)]
            size = 0
        else:
            yield kind, data[place + 8 : place + 8 + size]
        place += 8 + size + (0 if kind == PACKED else -size % 8)


def _class(flags: bytes, order: str) -> int:
    return struct.unpack_from(order + "I", flags)[0] & 0xFF if len(flags) >= 4 else 0


def _rows(parts: list[bytes], order: str) -> list[dict[str, Value]]:
    """Parts: how long a field's name may be, the names, then cells, row after row."""
    length, names = int.from_bytes(parts[0], "little" if order == "<" else "big"), parts[1]
    if not length or not names:
        raise ValueError("its fields have no names")
    fields = [names[i : i + length].split(b"\0")[0].decode(errors="replace") for i in range(0, len(names), length)]
    cells = [_value(part, order) for part in parts[2:]]
    rows = (cells[i : i + len(fields)] for i in range(0, len(cells), len(fields)))
    return [dict(zip(fields, row, strict=True)) for row in rows]


def _value(cell: bytes, order: str) -> Value:
    """What stands in a matrix of one text or one number."""
    flags, _, _, *data = [*_elements(cell, order), *[(0, b"")] * 4][:4]
    kind, content = data[0]
    if _class(flags[1], order) == CHARACTERS:
        return content.decode(_codec(kind, order), errors="replace") if kind in TEXTS else None
    number = NUMBERS.get(kind)
    if number is None or len(content) != struct.calcsize(number):
        return None
    return float(struct.unpack(order + number, content)[0])


def _codec(kind: int, order: str) -> str:
    codec = TEXTS[kind]
    return codec + ("-le" if order == "<" else "-be") * codec.startswith(("utf-16", "utf-32"))
