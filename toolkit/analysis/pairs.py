"""Do two datasets rank the architectures alike? Correlations of all pairs, with intervals."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from toolkit.analysis.families import draws
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.ranking import standard_errors
from toolkit.analysis.roles import Roles
from toolkit.analysis.settings import Settings, how_correlations
from toolkit.analysis.table import Table, table
from toolkit.stats.correlation import (
    MINIMUM,
    Statistic,
    bootstrap_correlations,
    bootstrap_pearson,
    correlations,
    holm,
    sparse_kendall,
)
from toolkit.stats.intervals import FAMILIES_FROM, INTERVAL_FROM, correlation_interval, p_of, pair_interval
from toolkit.stats.ranking import Z
from toolkit.stats.resampling import Draws, Floats, Ints
from toolkit.stats.scales import logit

STATISTICS: tuple[Statistic, ...] = ("spearman", "kendall", "pearson")
SPARSE_STEP = 0.1
"""Points within which two values count as tied where noise is not known (Yu et al. 2020)."""
ALIKE, FEWEST = 200, 500
"""Pairs up to which all have the same number of resamples, and the fewest that a pair has. Our choice."""

Row = dict[str, Any]
Pair = tuple[int, int]


def pairs(data: Measurements, who: Roles, settings: Settings) -> Table:
    """Spearman, Kendall tau-b and Pearson (raw and logit) of every pair over the architectures that have both.

    Intervals by `correlation_interval`; p adjusted by Holm over all pairs of a statistic. A pair that has no
    correlation has nulls and a note that says why. Of many datasets, pairs without the reference have fewer resamples.
    """
    sparse = _sparse_tau(data, settings)
    rows: dict[Pair, Row] = {}
    reference, others = data.datasets.index(who.reference), of_others(len(data.datasets), settings)
    for mask, members in _by_common_rows(data.matrix):
        main = [pair for pair in members if reference in pair or others == settings.resamples]
        rest = sorted(set(members) - set(main))
        rows |= _correlate(data, mask, main, settings) if main else {}
        rows |= _correlate(data, mask, rest, replace(settings, resamples=others)) if rest else {}
    ordered = [rows[a, b] | {"sparse_tau": sparse[a, b]} for a, b in combinations(range(len(data.datasets)), 2)]
    for statistic in STATISTICS if ordered else ():
        adjusted = holm(np.array([row[f"{statistic}_p"] for row in ordered], float))
        for row, value in zip(ordered, adjusted, strict=True):
            row[f"{statistic}_p_holm"] = value
    fewer = f", of pairs without {who.reference} B = {others}" if others < settings.resamples else ""
    note = (
        f"95% intervals: {how_correlations(data, settings)}{fewer}; "
        f"p two-sided, Holm over {len(ordered)} pairs; sparse tau: differences within noise count as ties"
    )
    return table("pairs", f"Correlation of {data.quantity} between datasets", ordered, note)


def of_others(datasets: int, settings: Settings) -> int:
    """Resamples of what is not about the reference: so many that all pairs together cost what `ALIKE` pairs do."""
    count = datasets * (datasets - 1) // 2
    return min(settings.resamples, max(FEWEST, settings.resamples * ALIKE // max(count, 1)))


def _sparse_tau(data: Measurements, settings: Settings) -> Floats:
    """`sparse_kendall` of all datasets, (k, k); NaN with fewer than `MINIMUM` rows."""
    errors = np.stack([_errors(data, name, settings) for name in data.datasets], axis=1)
    present = np.isfinite(data.matrix).astype(float)
    return np.where(present.T @ present < MINIMUM, np.nan, sparse_kendall(data.matrix, errors, Z))


def _errors(data: Measurements, dataset: str, settings: Settings) -> Floats:
    """Standard errors, their median where a value's own is not known; without any, such as tie within `SPARSE_STEP`."""
    errors, source = standard_errors(data, dataset, settings)
    usual = np.nanmedian(errors) if source else SPARSE_STEP / (Z * np.sqrt(2))
    return np.where(np.isfinite(errors), errors, usual)


def _by_common_rows(matrix: Floats) -> Iterator[tuple[np.ndarray, list[Pair]]]:
    """Pairs of columns grouped by the rows that both have, so that each group is resampled once."""
    present = np.isfinite(matrix)
    groups: dict[bytes, list[Pair]] = {}
    for a, b in combinations(range(matrix.shape[1]), 2):
        groups.setdefault((present[:, a] & present[:, b]).tobytes(), []).append((a, b))
    for mask, members in groups.items():
        yield np.frombuffer(mask, bool), members


def _correlate(data: Measurements, mask: np.ndarray, members: list[Pair], settings: Settings) -> dict[Pair, Row]:
    used = sorted({column for pair in members for column in pair})
    values = data.matrix[mask][:, used]
    local = np.array([(used.index(a), used.index(b)) for a, b in members])
    estimates = correlations(values, local)
    drawn = draws(data, settings, mask)
    samples = bootstrap_correlations(values, local, drawn)
    found = zip(STATISTICS, estimates, samples, strict=True)
    p_all = [p_of(name, values, local, estimate, sample, drawn) for name, estimate, sample in found]
    on_logit = _on_logit(data, values, local, drawn)
    rows = {}
    for i, (a, b) in enumerate(members):
        x, y = values[:, local[i]].T
        row: Row = {"a": data.datasets[a], "b": data.datasets[b], "n": len(x)}
        row["missing"] = len(data.architectures) - len(x)
        for statistic, estimate, sample, p in zip(STATISTICS, estimates, samples, p_all, strict=True):
            low, high = pair_interval(statistic, x, y, estimate[i], sample[i], drawn)
            row |= {
                statistic: estimate[i],
                f"{statistic}_low": low,
                f"{statistic}_high": high,
                f"{statistic}_p": p[i],
            }
        row |= on_logit[i]
        row["note"] = _why_not(x, y, drawn.family_count)
        rows[a, b] = row
    return rows


def _on_logit(data: Measurements, values: Floats, pairs: Ints, drawn: Draws) -> list[Row]:
    """Pearson on the logit scale; nulls where the values are no shares."""
    names = ("pearson_logit", "pearson_logit_low", "pearson_logit_high")
    if data.unit != "%" or len(values) < MINIMUM:
        return [dict.fromkeys(names)] * len(pairs)
    logits = np.apply_along_axis(logit, 0, values / 100)
    estimates = correlations(logits, pairs).pearson
    samples = bootstrap_pearson(logits, pairs, drawn)
    found = zip(estimates, samples, strict=True)
    ends = [(r, *correlation_interval("pearson", r, sample, len(values), drawn)) for r, sample in found]
    return [dict(zip(names, row, strict=True)) for row in ends]


def _why_not(x: Floats, y: Floats, families: int | None) -> str:
    """Why a pair has no correlation, or no interval; empty when it has both."""
    if len(x) == 0:
        return "no architecture has both"
    if len(x) < MINIMUM:
        return f"fewer than {MINIMUM} have both"
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return "one of the two is constant"
    if families is not None:
        few = families < FAMILIES_FROM
        return f"no interval: {families} families, fewer than {FAMILIES_FROM}" if few else ""
    least = INTERVAL_FROM["spearman"]
    return "" if len(x) >= least else f"no interval of ranks: {len(x)} architectures, fewer than {least}"


def matrix(pair_table: Table, datasets: list[str], statistic: str) -> Table:
    """The square matrix of one statistic from the table of pairs, 1 on the diagonal."""
    cells = {(r["a"], r["b"]): r[statistic] for r in pair_table.frame.iter_rows(named=True)}
    cells |= {(b, a): value for (a, b), value in cells.items()} | {(name, name): 1.0 for name in datasets}
    rows = [{"dataset": a} | {b: cells[a, b] for b in datasets} for a in datasets]
    schema = {"dataset": pl.String} | dict.fromkeys(datasets, pl.Float64)
    return Table(f"matrix-{statistic}", f"{statistic.capitalize()} between datasets", pl.DataFrame(rows, schema=schema))
