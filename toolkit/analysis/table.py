"""Table: what every analysis returns and every renderer draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl


@dataclass(frozen=True)
class Table:
    """One table of a report.

    A column ``x`` with ``x_low`` and ``x_high`` beside it is an estimate with its interval, and is drawn as one cell.
    NaN never gets in: what has no meaning is null.
    """

    name: str
    """Stem of its files and key in the JSON document."""
    title: str
    frame: pl.DataFrame
    note: str = ""
    """How to read it: units, method, what was left out."""


def with_interval(estimate: float, low: float, high: float, digits: int) -> str:
    """An estimate and its interval as text with ``digits`` decimals, or more while the ends would look the same."""
    n = next((n for n in range(digits, 16) if float(f"{low:.{n}f}") < float(f"{high:.{n}f}")), 15)
    return f"{estimate:.{n}f} [{low:.{n}f}, {high:.{n}f}]"


def table(name: str, title: str, rows: Sequence[Mapping[str, Any]], note: str = "") -> Table:
    """A `Table` from rows of equal keys; NaN and infinity become null."""
    frame = pl.DataFrame(list(rows), infer_schema_length=None)
    floats = [column for column, kind in frame.schema.items() if kind in (pl.Float64, pl.Float32)]
    finite = [pl.when(pl.col(c).is_finite()).then(pl.col(c)).alias(c) for c in floats]
    return Table(name, title, frame.with_columns(finite), note)
