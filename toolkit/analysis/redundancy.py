"""Which datasets say the same, so that one of them could be left out?"""

from typing import Any

import numpy as np

from toolkit.analysis.families import draws
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.settings import Settings
from toolkit.analysis.table import Table, table
from toolkit.stats.correlation import MINIMUM, bootstrap_spearman, correlations, midranks
from toolkit.stats.grouping import groups
from toolkit.stats.intervals import correlation_interval
from toolkit.stats.resampling import Floats

ALIKE = 0.9
"""Spearman's rho from which two datasets count as saying the same. Our choice."""
DATASETS_FROM = 3


def redundancy(data: Measurements, pairs: Table, settings: Settings) -> list[Table]:
    """Datasets in groups that rank alike, each with its nearest and its correlation with all the others together."""
    names = data.datasets
    if len(names) < DATASETS_FROM:
        return []
    rho = np.eye(len(names))
    for row in pairs.frame.iter_rows(named=True):
        a, b = names.index(row["a"]), names.index(row["b"])
        rho[a, b] = rho[b, a] = np.nan if row["spearman"] is None else row["spearman"]
    group, order = groups(rho, ALIKE)
    rows = [_row(data, i, rho, group, settings) for i in order]
    note = (
        f"a group: any two of it have a Spearman of {ALIKE} or more (complete linkage); nearest: the dataset that "
        "ranks most alike; it was picked, so that its correlation has no interval; with the rest: Spearman with the "
        "mean rank on all other datasets, over the nets that have all"
    )
    return [table("redundancy", "Which datasets say the same? Groups of datasets that rank alike", rows, note)]


def _row(data: Measurements, i: int, rho: Floats, group: np.ndarray, settings: Settings) -> dict[str, Any]:
    others = np.where(np.arange(len(rho)) == i, -np.inf, np.nan_to_num(rho[i], nan=-np.inf))
    nearest = int(np.argmax(others))
    with_rest, low, high = _with_the_rest(data, i, settings)
    known = bool(np.isfinite(others[nearest]))
    return {
        "group": int(group[i]),
        "dataset": data.datasets[i],
        "alike": int((group == group[i]).sum()),
        "nearest": data.datasets[nearest] if known else None,
        "nearest_rho": others[nearest],
        "with_the_rest": with_rest,
        "with_the_rest_low": low,
        "with_the_rest_high": high,
    }


def _with_the_rest(data: Measurements, i: int, settings: Settings) -> tuple[float, float, float]:
    """Spearman of a dataset with the mean rank on all others, and its interval; NaN with fewer than `MINIMUM` nets."""
    known = np.asarray(np.isfinite(data.matrix).all(axis=1))
    values = data.matrix[known]
    if len(values) < MINIMUM:
        return float("nan"), float("nan"), float("nan")
    ranks = np.stack([midranks(column) for column in np.delete(values, i, axis=1).T])
    both, pair = np.stack([values[:, i], ranks.mean(axis=0)], axis=1), np.array([[0, 1]])
    drawn = draws(data, settings, known)
    estimate = float(correlations(both, pair).spearman[0])
    samples = bootstrap_spearman(both, pair, drawn)[0]
    return estimate, *correlation_interval("spearman", estimate, samples, len(both), drawn)
