"""Do two datasets rank the architectures alike? Correlations of all pairs, with intervals."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from toolkit.analysis.measurements import Measurements
from toolkit.analysis.settings import Settings
from toolkit.analysis.table import Table, table
from toolkit.stats.correlation import (
    MINIMUM,
    Statistic,
    bootstrap_correlations,
    correlations,
    holm,
    p_value,
)
from toolkit.stats.resampling import Floats, percentile_interval

STATISTICS: tuple[Statistic, ...] = ("spearman", "kendall", "pearson")


def pairs(data: Measurements, settings: Settings) -> Table:
    """Spearman, Kendall tau-b and Pearson of every pair of datasets over the architectures that have both.

    Intervals by bootstrap over architectures, p adjusted by Holm over all pairs of a statistic.
    """
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for mask, members in _by_common_rows(data.matrix):
        rows |= _correlate(data, mask, members, settings)
    ordered = [rows[pair] for pair in combinations(range(len(data.datasets)), 2)]
    for statistic in STATISTICS if ordered else ():
        adjusted = holm(np.array([row[f"{statistic}_p"] for row in ordered], float))
        for row, value in zip(ordered, adjusted, strict=True):
            row[f"{statistic}_p_holm"] = value
    note = (
        f"95% intervals by bootstrap over architectures (B = {settings.resamples}, seed {settings.seed}); "
        f"p two-sided, Holm over {len(ordered)} pairs"
    )
    return table("pairs", "Correlation between datasets", ordered, note)


def _by_common_rows(matrix: Floats) -> Iterator[tuple[np.ndarray, list[tuple[int, int]]]]:
    """Pairs of columns grouped by the rows that both have, so that each group is resampled once."""
    present = np.isfinite(matrix)
    groups: dict[bytes, list[tuple[int, int]]] = {}
    for a, b in combinations(range(matrix.shape[1]), 2):
        groups.setdefault((present[:, a] & present[:, b]).tobytes(), []).append((a, b))
    for mask, members in groups.items():
        yield np.frombuffer(mask, bool), members


def _correlate(
    data: Measurements, mask: np.ndarray, members: list[tuple[int, int]], settings: Settings
) -> dict[tuple[int, int], dict[str, Any]]:
    used = sorted({column for pair in members for column in pair})
    values = data.matrix[mask][:, used]
    local = np.array([(used.index(a), used.index(b)) for a, b in members])
    estimates = correlations(values, local)
    samples = bootstrap_correlations(values, local, settings.resamples, settings.seed)
    rows = {}
    for i, (a, b) in enumerate(members):
        x, y = values[:, local[i]].T
        row = {
            "a": data.datasets[a],
            "b": data.datasets[b],
            "n": len(values),
            "missing": len(data.architectures) - len(values),
        }
        for statistic, estimate, sample in zip(STATISTICS, estimates, samples, strict=True):
            low, high = percentile_interval(sample[i])
            p = p_value(statistic, x, y, estimate[i], settings.seed)
            row |= {
                statistic: estimate[i],
                f"{statistic}_low": low,
                f"{statistic}_high": high,
                f"{statistic}_p": p,
            }
        row["note"] = _why_not(x, y)
        rows[a, b] = row
    return rows


def _why_not(x: Floats, y: Floats) -> str:
    """Why a pair has no correlation; empty when it has."""
    if len(x) == 0:
        return "no architecture has both"
    if len(x) < MINIMUM:
        return f"fewer than {MINIMUM} architectures have both"
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return "one of the two is constant"
    return ""


def matrix(pair_table: Table, datasets: list[str], statistic: str) -> Table:
    """The square matrix of one statistic from the table of pairs, 1 on the diagonal."""
    cells = {(r["a"], r["b"]): r[statistic] for r in pair_table.frame.iter_rows(named=True)}
    cells |= {(b, a): value for (a, b), value in cells.items()} | {(name, name): 1.0 for name in datasets}
    rows = [{"dataset": a} | {b: cells[a, b] for b in datasets} for a in datasets]
    return Table(f"matrix-{statistic}", f"{statistic.capitalize()} between datasets", pl.DataFrame(rows))
