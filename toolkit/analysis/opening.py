"""Open a table that anybody wrote: a frame of its cells, whatever the format, encoding, separator or compression."""

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import os
import re
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from toolkit.analysis import confined
from toolkit.analysis.headings import ARCHITECTURE, plain
from toolkit.analysis.numerals import CELL
from toolkit.errors import UsageError
from toolkit.files import read_regular

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
LARGEST = 2**30
"""Bytes of a table's text beyond which it is refused. Our choice: results are small, a mistaken path need not be."""
UNREADABLE = (
    PolarsError, OSError, EOFError, ValueError, RecursionError, csv.Error, lzma.LZMAError, zlib.error,
)  # fmt: skip
"""What damaged bytes raise, by format."""
MOST_MEMORY = 2**31
"""Bytes of memory that reading a Parquet or Excel file may take (our choice): a file of a kilobyte may ask for more."""
RULE = re.compile(r"[|+:=\-\s]*[-=][|+:=\-\s]*")
"""A line between rows."""
COMMENT = re.compile(r"#(?![,;\t|])")
SAMPLE = 200
"""Lines from which the separator is judged."""


def open_table(path: Path) -> tuple[pl.DataFrame, list[str]]:
    """The cells of the table in ``path`` under its own headings, and a line for each part of it that was not read.

    CSV and the like become columns of text; Parquet, Excel and JSON keep their numbers. The content decides, not the
    file's name. Raises `UsageError` that says what was seen.
    """
    try:
        frame, left_out = _read(path, _unpacked(read_regular(path, LARGEST)))
    except FileNotFoundError as error:
        raise UsageError(f"{path} is not there: give the path of a table or the name of a study") from error
    except UNREADABLE as error:
        raise UsageError(f"{path} cannot be read as a table: {(str(error) or 'no data').splitlines()[0]}") from error
    return frame, [f"{path}: {line}" for line in left_out]


def _read(path: Path, raw: bytes) -> tuple[pl.DataFrame, list[str]]:
    if len(raw) > LARGEST:
        raise ValueError(f"it has more than {LARGEST >> 20} MiB")
    if raw.startswith(b"PAR1"):
        return _confined("parquet", raw)[""], []
    if raw.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return _excel(raw)
    text = _decode(raw).strip("\n\r\ufeff")
    if not text.strip():
        raise ValueError("it is empty")
    if text.lstrip()[0] in "[{":
        return _json(text), []
    return _delimited(text)


def _unpacked(raw: bytes) -> bytes:
    """What a compressed file holds, not more than shows that it is too large."""
    packed = io.BytesIO(raw)
    if raw.startswith(b"\x1f\x8b"):
        return gzip.open(packed).read(LARGEST + 1)
    if raw.startswith(b"BZh"):
        return bz2.open(packed).read(LARGEST + 1)
    return lzma.open(packed).read(LARGEST + 1) if raw.startswith(b"\xfd7zXZ\x00") else raw


def _excel(raw: bytes) -> tuple[pl.DataFrame, list[str]]:
    """The first sheet with cells; the others are named."""
    filled = {name: sheet for name, sheet in _confined("excel", raw).items() if sheet.width and sheet.height}
    if not filled:
        raise ValueError("its sheets are empty")
    first, *others = filled
    return filled[first], [f"sheet {name!r} is not read (only {first!r}, the first)" for name in others]


def _confined(kind: str, raw: bytes) -> dict[str, pl.DataFrame]:
    """The tables of a file by name, read by `toolkit.analysis.confined`. Raises ValueError for what it cannot read."""
    command = [sys.executable, "-P", confined.__file__, kind, str(MOST_MEMORY)]
    around = {**os.environ, "POLARS_MAX_THREADS": "2", "RUST_BACKTRACE": "0"}
    done = subprocess.run(command, input=raw, capture_output=True, check=False, env=around)
    if done.returncode < 0:
        raise ValueError(f"it is damaged, or takes more than {MOST_MEMORY >> 20} MiB of memory")
    if done.returncode:
        raise ValueError(done.stderr.decode(errors="replace").strip().splitlines()[-1])
    parts, told = [], io.BytesIO(done.stdout)
    while length := told.read(8):
        parts.append(told.read(int.from_bytes(length, "big")))
    return {name.decode(): pl.read_ipc(io.BytesIO(table)) for name, table in zip(parts[::2], parts[1::2], strict=True)}


def _decode(raw: bytes) -> str:
    """Text by its byte order mark, else UTF-8, else Windows-1252, which holds Latin-1's letters."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16")
    if raw[:200].count(0) > len(raw[:200]) // 4:
        return raw.decode("utf-16-le" if raw[1:2] == b"\0" else "utf-16-be")
    if b"\0" in raw:
        raise ValueError("it is no text, Parquet or Excel file (it holds zero bytes)")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def _json(text: str) -> pl.DataFrame:
    """Records (a list of objects, or one object a line), or an object of columns."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(found, dict):
        columns = {name: list(v.values()) if isinstance(v, dict) else v for name, v in found.items()}
        if all(isinstance(column, list) for column in columns.values()):
            return _from_rows(list(columns), [list(row) for row in zip(*columns.values(), strict=True)])
        found = [found]
    if not all(isinstance(record, dict) for record in found):
        raise ValueError("JSON of a table is a list of objects")
    names = list(dict.fromkeys(name for record in found for name in record))
    return _from_rows(names, [[record.get(name) for name in names] for record in found])


def _from_rows(names: list[str], rows: list[list[Any]]) -> pl.DataFrame:
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    cells = [[None if cell is None else str(cell) for cell in column] for column in columns]
    return pl.DataFrame(dict(zip(names, cells, strict=True)), schema=dict.fromkeys(names, pl.String))


def _delimited(text: str) -> tuple[pl.DataFrame, list[str]]:
    lines, left_out = _lines_of_cells(text)
    separator = _separator(lines[:SAMPLE])
    if separator is None:
        lines, separator = [re.sub(r"\s+", " ", line.strip()) for line in lines], " "
    header, *rows = csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t")
    names = [name.strip() for name in header]
    if separator in " \t" and rows and all(len(row) == len(names) + 1 for row in rows):
        nameless = not {plain(name) for name in names} & set(ARCHITECTURE)
        names = ["", *names] if nameless else names  # R's write.table: row names have no heading
    _refuse_headings(names, rows, SEPARATORS.get(separator, "space"))
    padded = [[*row[: len(names)], *[""] * (len(names) - len(row))] for row in rows]
    named = [name or f"Unnamed: {i}" for i, name in enumerate(names)]
    return _from_rows(named, padded), left_out


def _lines_of_cells(text: str) -> tuple[list[str], list[str]]:
    """Lines without comments, of Markdown the first table's without its rules and outer bars; and what is not read."""
    lines = text.splitlines()
    if tables := _tables(lines):
        cells = [_unadorned(line.strip("|")) for line in tables[0]]
        more = f"{len(tables) - 1} further tables are not read, only the first"
        return cells, [more] if len(tables) > 1 else []
    lines = _without_comments([line for line in lines if line.strip() and not re.fullmatch(r"sep=.\s*", line)])
    if not lines:
        raise ValueError("it holds comments alone")
    return lines, []


def _tables(lines: list[str]) -> list[list[str]]:
    """Lines of each table with bars, as Markdown and databases write them; it ends with its first line without.

    Such a table has rules, or is all that there is: names of networks may have bars, too.
    """
    told = [line.strip() for line in lines]
    runs = itertools.groupby(told, key=lambda line: "|" in line or RULE.fullmatch(line) is not None)
    blocks = [list(run) for barred, run in runs if barred]
    tables = [[line for line in block if not RULE.fullmatch(line)] for block in blocks]
    alone = len(blocks) == 1 and len(blocks[0]) == sum(map(bool, told))
    return [
        table
        for table, block in zip(tables, blocks, strict=True)
        if table and table[0].startswith("|") and len(block) >= 3 and (alone or len(table) < len(block))
    ]


def _unadorned(line: str) -> str:
    """A line of a Markdown table without emphasis, links and HTML; what is raised is a footnote."""
    line = re.sub(r"<sup>.*?</sup>|<[^<>]*>|\*\*|`", "", line)
    line = re.sub(r"!?\[([^\]|]*)\]\([^)|]*\)", r"\1", line)
    return re.sub(r"(?<![^\s|])\*([^*|]+)\*(?![^\s|])", r"\1", line)


def _without_comments(lines: list[str]) -> list[str]:
    """Lines before the heading that begin with ``#``, and later ones of a single cell, are comments.

    The last one before rows of numbers is their heading, where it has as many cells.
    """
    first = next((i for i, line in enumerate(lines) if not COMMENT.match(line)), len(lines))
    rest = [line for line in lines[first:] if not COMMENT.match(line) or re.search(r"[,;\t|]", line)]
    heading = lines[first - 1].lstrip("# ") if first else ""
    return [heading, *rest] if rest and heading and _is_heading(heading, rest[0]) else rest


def _is_heading(line: str, row: str) -> bool:
    """Whether ``line`` is cut like ``row``, and ``row`` alone has numbers."""
    separator = next((separator for separator in SEPARATORS if separator in row), None)
    cells, values = ([cell.strip() for cell in text.split(separator)] for text in (line, row))
    return len(cells) == len(values) > 1 and any(map(CELL.fullmatch, values)) and not any(map(CELL.fullmatch, cells))


def _refuse_headings(names: list[str], rows: list[list[str]], separator: str) -> None:
    """Raise `ValueError` for a heading that comes twice, and for a row with more cells than headings."""
    repeated = [name for name, count in Counter(names).items() if count > 1 and name]
    if repeated:
        raise ValueError(f"two columns are called {repeated[0]!r}")
    for i, row in enumerate(rows, 2):
        if any(row[len(names) :]):
            raise ValueError(
                f"row {i} has {len(row)} fields, the heading {len(names)} (separator {separator}, columns "
                f"{', '.join(names[:8])})"
            )


def _separator(lines: list[str]) -> str | None:
    """The separator that cuts most lines like the heading, into most fields; None when none cuts the heading."""
    found = []
    for separator in SEPARATORS:
        fields = [len(row) for row in csv.reader(lines, delimiter=separator)]
        if fields[0] > 1:
            found.append((sum(n == fields[0] for n in fields) / len(fields), fields[0], separator))
    return max(found)[2] if found else None
