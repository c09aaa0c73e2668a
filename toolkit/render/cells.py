"""Cells: how a number is written, the same in the terminal, in Markdown, LaTeX and HTML."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from toolkit.analysis.table import with_interval

SMALL_P = 0.001


DIGITS = 3


def cells(
    frame: pl.DataFrame, columns: tuple[str, ...] = (), digits: int = DIGITS
) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of text of ``columns`` (all when empty); an interval goes into its estimate's cell."""
    shown = list(columns) or [c for c in frame.columns if not _is_bound(c, frame.columns)]
    headings = [heading(column) for column in shown]
    return headings, [[cell(row, column, digits) for column in shown] for row in frame.iter_rows(named=True)]


def _is_bound(column: str, columns: list[str]) -> bool:
    return column.endswith(("_low", "_high")) and column.rsplit("_", 1)[0] in columns


def heading(column: str) -> str:
    """A column's name for people."""
    return column.replace("_", " ")


def cell(row: dict[str, Any], column: str, digits: int = DIGITS) -> str:
    """The text of one value, with its interval when the row has one."""
    text = number(row[column], column, digits)
    low = row.get(f"{column}_low")
    if low is None or not text:
        return text
    high = row[f"{column}_high"]
    ends = number(low, column, digits), number(high, column, digits)
    if isinstance(low, float) and low < high and ends[0] == ends[1]:
        return with_interval(row[column], low, high, digits)
    return f"{text} [{ends[0]}, {ends[1]}]"


def number(value: Any, column: str = "", digits: int = DIGITS) -> str:
    """``value`` as text: ``digits`` decimals (two from 10 on), small p as a bound, null as nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if value >= 100_000 else str(value)
    if not isinstance(value, float):
        return str(value)
    if column in ("p", "p_holm") or column.endswith(("_p", "_p_holm")):
        return f"<{SMALL_P}" if value < SMALL_P else f"{value:.3f}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.{digits}f}"


def numeric_columns(frame: pl.DataFrame) -> Iterator[str]:
    """Columns that are set flush right and sort as numbers."""
    return (column for column, kind in frame.schema.items() if kind.is_numeric())
