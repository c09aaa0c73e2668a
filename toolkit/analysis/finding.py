"""The finding in words: what a reader should take home, before any table."""

import polars as pl

from toolkit.analysis.measurements import Measurements
from toolkit.analysis.table import Table


def finding(data: Measurements, tables: dict[str, Table]) -> list[str]:
    """A few sentences, most important first."""
    counts = tables["coverage"].frame
    lines = [_what_is_there(data, counts)]
    if len(data.datasets) > 1:
        lines += _how_alike(tables["pairs"].frame)
    return lines


def _what_is_there(data: Measurements, counts: pl.DataFrame) -> str:
    lost = [f"{counts[c].sum()} {c}" for c in ("missing", "failed", "diverged") if counts[c].sum()]
    unread = [f"{len(data.problems)} unreadable"] if data.problems else []
    datasets = f"{len(data.datasets)} dataset{'s' if len(data.datasets) > 1 else ''}"
    results = f"{counts['runs'].sum()} results of {len(data.architectures)} architectures on {datasets}"
    return f"{data.name}: {results}; {', '.join(lost + unread) or 'nothing missing'}."


def _how_alike(pairs: pl.DataFrame) -> list[str]:
    known = pairs.filter(pl.col("spearman").is_not_null()).sort("spearman")
    if known.is_empty():
        return ["No pair of datasets has a correlation: " + "; ".join(sorted(set(pairs["note"]))) + "."]
    rows = known.to_dicts()
    lowest, highest = rows[0], rows[-1]
    if len(rows) == 1:
        return [f"Rankings on {_pair(lowest)}."]
    return [f"Rankings agree most on {_pair(highest)}, least on {_pair(lowest)}."]


def _pair(row: dict[str, float]) -> str:
    interval = f" [{row['spearman_low']:.2f}, {row['spearman_high']:.2f}]" if row["spearman_low"] is not None else ""
    return f"{row['a']} and {row['b']}: Spearman {row['spearman']:.2f}{interval}, n = {row['n']}"
