"""Who is best over all datasets: which nets a critical-difference diagram shows, and which of them its bars join."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from toolkit.analysis.document import Report
from toolkit.stats.resampling import Floats

SHOWN = 24
"""Nets of a diagram; half of them the best and half the worst where there are more."""


class Standing(NamedTuple):
    """What a critical-difference diagram is drawn from (Demsar 2006, J. Mach. Learn. Res. 7:1)."""

    rows: pl.DataFrame
    """Those of the table ``mean-ranks`` that are shown, the best first."""
    about: dict[str, Any]
    """The row of the table ``concordance``."""
    bars: list[tuple[int, int, int]]
    """First and last row of a group no two of which are critically apart, and the line it is drawn on: 0, 1, ..."""


def standing(report: Report) -> Standing | None:
    """The standing of the nets of ``report``; None where it has no mean ranks."""
    if "mean-ranks" not in report.tables:
        return None
    rows = report.tables["mean-ranks"].frame
    if len(rows) > SHOWN:
        rows = pl.concat([rows.head(SHOWN // 2), rows.tail(SHOWN // 2)])
    about = report.tables["concordance"].frame.row(0, named=True)
    return Standing(rows, about, _on_lines(joined(rows["mean_rank"].to_numpy(), about["critical_difference"])))


def joined(ranks: Floats, apart: float) -> list[tuple[int, int]]:
    """First and last of every largest group of ``ranks`` (n,), rising, of which no two are more than ``apart``."""
    last = np.searchsorted(ranks, ranks + apart, side="right") - 1
    return [(i, int(j)) for i, j in enumerate(last) if j > i and (i == 0 or j > last[i - 1])]


def _on_lines(groups: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Each group with the first line on which it overlaps no other."""
    ended: list[int] = []
    found = []
    for first, last in groups:
        line = next((i for i, before in enumerate(ended) if before < first), len(ended))
        ended[line : line + 1] = [last]
        found.append((first, last, line))
    return found
