"""Which datasets say the same, so that one of them could be left out?"""

from typing import Any

import numpy as np

from toolkit.analysis.families import draws
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.pairs import of_others
from toolkit.analysis.settings import Settings
from toolkit.analysis.table import Table, table
from toolkit.stats.correlation import MINIMUM, bootstrap_spearman, correlations, midranks
from toolkit.stats.grouping import groups
from toolkit.stats.intervals import INTERVAL_FROM, pair_interval
from toolkit.stats.resampling import Floats

ALIKE = 0.9
"""Spearman's rho from which two datasets count as saying the same. Our choice."""
DATASETS_FROM = 3

Row = dict[str, Any]


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
    with_rest = _with_the_rest(data, settings)
    rows = [_row(data, i, rho, group, with_rest[i]) for i in order]
    note = (
        f"a group: any two of it have a Spearman of {ALIKE} or more (complete linkage); nearest: the dataset that "
        "ranks most alike; it was picked, so that its correlation has no interval; with the rest: Spearman with the "
        "mean rank on all other datasets, over the nets that have all (an interval from "
        f"{INTERVAL_FROM['spearman']} nets on); B = {of_others(len(names), settings)}"
    )
    return [table("redundancy", "Which datasets say the same? Groups of datasets that rank alike", rows, note)]


def _row(data: Measurements, i: int, rho: Floats, group: np.ndarray, with_rest: Row) -> Row:
    others = np.where(np.arange(len(rho)) == i, -np.inf, np.nan_to_num(rho[i], nan=-np.inf))
    nearest = int(np.argmax(others))
    return {
        "group": int(group[i]),
        "dataset": data.datasets[i],
        "alike": int((group == group[i]).sum()),
        "nearest": data.datasets[nearest] if np.isfinite(others[nearest]) else None,
        "nearest_rho": others[nearest],
    } | with_rest


def _with_the_rest(data: Measurements, settings: Settings) -> list[Row]:
    """Spearman of each dataset with the mean rank on all others, and its interval."""
    known = np.asarray(np.isfinite(data.matrix).all(axis=1))
    values, k = data.matrix[known], len(data.datasets)
    if len(values) < MINIMUM:
        return [dict.fromkeys(("with_the_rest", "with_the_rest_low", "with_the_rest_high"))] * k
    ranks = np.stack([midranks(column) for column in values.T], axis=1)
    rest = (ranks.sum(axis=1, keepdims=True) - ranks) / (k - 1)
    both, pairs = np.concatenate([values, rest], axis=1), np.array([(i, k + i) for i in range(k)])
    drawn = draws(data, settings, known)._replace(resamples=of_others(k, settings))
    found = zip(correlations(both, pairs).spearman, bootstrap_spearman(both, pairs, drawn), strict=True)
    columns = zip(values.T, rest.T, found, strict=True)
    ends = [(rho, *pair_interval("spearman", x, y, rho, samples, drawn)) for x, y, (rho, samples) in columns]
    return [{"with_the_rest": rho, "with_the_rest_low": low, "with_the_rest_high": high} for rho, low, high in ends]
