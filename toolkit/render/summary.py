"""The summary in the terminal: the finding in words, then the tables that carry it."""

from typing import TYPE_CHECKING

import polars as pl

from toolkit.analysis.document import Report
from toolkit.render.terminal import console, show

if TYPE_CHECKING:
    from rich.console import Console

BEST = 5
"""Architectures shown for each dataset."""
PAIRS = 20


def summarise(report: Report) -> None:
    """Print the report's summary."""
    out = console()
    for sentence in report.finding:
        out.print(sentence, markup=False)
    out.print()
    tables = report.tables
    coverage = tables["coverage"]
    columns = ("dataset", "scale", "paired", "of", "runs", "missing", "failed", "diverged", "min", "median", "max")
    show(out, coverage.title, coverage.frame, columns, coverage.note)
    best = tables["ranking"].frame.filter(pl.col("rank") <= BEST)
    show(
        out,
        f"Best {BEST} of each dataset",
        _once(best),
        ("dataset", "rank", "architecture", "value"),
        tables["ranking"].note,
    )
    if len(report.data.datasets) > 1:
        _show_pairs(out, report)


def _show_pairs(out: "Console", report: Report) -> None:
    pairs = report.tables["pairs"]
    shown = pairs.frame.head(PAIRS)
    note = ("note",) if (shown["note"] != "").any() else ()
    columns = ("a", "b", "n", "missing", "spearman", "kendall", "pearson", *note)
    rest = len(pairs.frame) - len(shown)
    show(out, pairs.title, shown, columns, pairs.note + (f"; {rest} more pairs in the files" if rest else ""))


def _once(frame: pl.DataFrame) -> pl.DataFrame:
    """The dataset's name in its first row only."""
    first = pl.col("rank") == pl.col("rank").min().over("dataset")
    return frame.with_columns(dataset=pl.when(first).then("dataset").otherwise(pl.lit("")))
