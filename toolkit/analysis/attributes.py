"""What makes an architecture good: error against its depth, width and every other column; profiles of the best."""

from collections.abc import Callable
from typing import Any

import numpy as np

from toolkit.analysis.conditional import attribute_matrix
from toolkit.analysis.families import draws
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.settings import Settings, how_correlations
from toolkit.analysis.table import Table, table
from toolkit.stats.correlation import Statistic, bootstrap_pearson, bootstrap_spearman, correlations
from toolkit.stats.intervals import p_of, pair_interval
from toolkit.stats.resampling import Draws, Floats, Ints

TOP = 15
BOOTSTRAPS: dict[Statistic, Callable[[Floats, Ints, Draws], Floats]] = {
    "spearman": bootstrap_spearman,
    "pearson": bootstrap_pearson,
}


def attribute_tables(data: Measurements, settings: Settings) -> list[Table]:
    """Correlations of every dataset with every column of the architectures, and profiles of the best."""
    columns = [c for c in data.attributes.columns if c != "architecture"]
    if not columns:
        return []
    held = attribute_matrix(data, columns)
    rows = [row for name in data.datasets for row in _correlate(data, name, columns, held, settings)]
    profiles = [row for name in data.datasets for row in _profile(data, name, columns, held)]
    note = f"Spearman of {data.quantity} with the column; 95% intervals: {how_correlations(data, settings)}"
    about = f"best net, mean of the best {TOP}, mean of all; by dataset"
    return [
        table("attributes", f"{data.quantity.capitalize()} against the architecture's columns", rows, note),
        table("profiles", "Profiles of the best architectures", profiles, about),
    ]


def _correlate(
    data: Measurements, dataset: str, columns: list[str], held: Floats, settings: Settings
) -> list[dict[str, Any]]:
    """A row for each column, over the architectures that have a value and all columns."""
    values = np.column_stack([data.column(dataset), held])
    known = np.isfinite(values).all(axis=1)
    values, drawn = values[known], draws(data, settings, known)
    pairs = np.array([(0, i + 1) for i in range(len(columns))])
    found = correlations(values, pairs)
    samples = {name: bootstrap(values, pairs, drawn) for name, bootstrap in BOOTSTRAPS.items()}
    p = p_of("spearman", values, pairs, found.spearman, samples["spearman"], drawn)
    rows = []
    for i, column in enumerate(columns):
        row: dict[str, Any] = {"dataset": dataset, "column": column, "n": len(values)}
        for name in BOOTSTRAPS:
            estimate = getattr(found, name)[i]
            x, y = values[:, 0], values[:, i + 1]
            low, high = pair_interval(name, x, y, estimate, samples[name][i], drawn)
            row |= {name: estimate, f"{name}_low": low, f"{name}_high": high}
        row["p"] = p[i]
        rows.append(row)
    return rows


def _profile(data: Measurements, dataset: str, columns: list[str], held: Floats) -> list[dict[str, Any]]:
    values = data.sign * data.column(dataset)
    order = np.argsort(values, kind="stable")[: np.isfinite(values).sum()]
    groups = (
        {f"best: {data.architectures[order[0]]}": order[:1], f"top {TOP}": order[:TOP], "all": order}
        if len(order)
        else {}
    )
    return [
        {"dataset": dataset, "group": name, "n": len(rows)}
        | dict(zip(columns, held[rows].mean(axis=0).tolist(), strict=True))
        for name, rows in groups.items()
    ]
