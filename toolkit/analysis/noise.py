"""What noise leaves possible: the ceiling of a correlation, and the correlation with noise taken off."""

from itertools import combinations
from typing import Any

import numpy as np

from toolkit.analysis.families import draws
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.ranking import standard_errors
from toolkit.analysis.settings import Settings
from toolkit.analysis.table import Table, table
from toolkit.stats.correlation import MINIMUM, bootstrap_pearson, correlations
from toolkit.stats.intervals import CORRECTED_FROM, interval_from
from toolkit.stats.reliability import bootstrap_reliability, reliability


def noise_ceiling(data: Measurements, settings: Settings) -> list[Table]:
    """For every pair whose noise is known: ceiling, and Pearson corrected for attenuation (Spearman 1904)."""
    noise = {name: standard_errors(data, name, settings) for name in data.datasets}
    known = [name for name in data.datasets if noise[name][1]]
    rows = [_ceiling(data, a, b, noise, settings) for a, b in combinations(known, 2)]
    if not rows:
        return []
    note = (
        "reliability: share of the spread that is not noise (from repeated seeds, else from counts, else --noise); "
        "ceiling: root of the product; corrected = Pearson over ceiling, bootstrap interval from "
        f"{CORRECTED_FROM} architectures on. Counts do not "
        "know the training's randomness, so a ceiling from counts is too high"
    )
    return [table("noise", "Noise ceiling of the correlations", rows, note)]


def _ceiling(data: Measurements, a: str, b: str, noise: dict[str, Any], settings: Settings) -> dict[str, Any]:
    x, y, x_errors, y_errors = data.column(a), data.column(b), noise[a][0], noise[b][0]
    both = np.isfinite(x) & np.isfinite(y) & np.isfinite(x_errors) & np.isfinite(y_errors)
    x, y, x_errors, y_errors = x[both], y[both], x_errors[both], y_errors[both]
    row: dict[str, Any] = {"a": a, "b": b, "n": len(x), "noise_a": noise[a][1], "noise_b": noise[b][1]}
    if len(x) < MINIMUM:
        return row | {"note": "too few"}
    pair, values = np.array([[0, 1]]), np.stack([x, y], axis=1)
    of_a, of_b = reliability(x, x_errors), reliability(y, y_errors)
    ceiling = np.sqrt(of_a * of_b)
    drawn = draws(data, settings, both)
    ceilings = np.sqrt(bootstrap_reliability(x, x_errors, drawn) * bootstrap_reliability(y, y_errors, drawn))
    r = correlations(values, pair).pearson[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        samples = bootstrap_pearson(values, pair, drawn)[0] / ceilings
        corrected = r / ceiling
    low, high = interval_from(CORRECTED_FROM, corrected, samples, len(x), drawn)
    return row | {
        "reliability_a": of_a,
        "reliability_b": of_b,
        "ceiling": ceiling,
        "pearson": r,
        "corrected": corrected,
        "corrected_low": low,
        "corrected_high": high,
        "note": "" if ceiling > 0 else "noise explains all of the spread",
    }
