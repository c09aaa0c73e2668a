"""What noise leaves possible: the ceiling of a correlation, and the correlation with noise taken off."""

from itertools import combinations
from typing import Any

import numpy as np

from toolkit.analysis.families import draws
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.ranking import standard_errors
from toolkit.analysis.settings import Settings
from toolkit.analysis.table import Table, table
from toolkit.stats.correlation import MINIMUM, bootstrap_pearson, bootstrap_spearman, correlations
from toolkit.stats.intervals import CORRECTED_FROM, NOISELESS_FROM, interval_from
from toolkit.stats.reliability import bootstrap_reliability, noiseless_spearman, reliability, spearman_ceiling


def noise_ceiling(data: Measurements, settings: Settings, reference: str | None = None) -> list[Table]:
    """For every pair of known noise, or those with ``reference``: ceilings, and correlations without the noise."""
    noise = {name: standard_errors(data, name, settings) for name in data.datasets}
    known = [name for name in data.datasets if noise[name][1]]
    chosen = [pair for pair in combinations(known, 2) if reference in (None, *pair)]
    rows = [_ceiling(data, a, b, noise, settings) for a, b in chosen]
    if not rows:
        return []
    note = (
        "reliability: share of the spread that is not noise (from repeated seeds, else from counts, else --noise); "
        "ceiling: of Spearman, the most that the noise lets it show; noiseless: Spearman without the noise, by way of "
        f"a normal pair, bootstrap interval from {NOISELESS_FROM} architectures on; corrected: Pearson without it, "
        f"interval from {CORRECTED_FROM} on. Counts do not know the training's randomness, so that a ceiling from "
        "counts is too high and a noiseless correlation too low"
    )
    return [
        table("noise", "How much agreement does noise hide? Spearman beside its ceiling, and without noise", rows, note)
    ]


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
    found = correlations(values, pair)
    rho, r = float(found.spearman[0]), float(found.pearson[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        samples = bootstrap_pearson(values, pair, drawn)[0] / ceilings
        corrected = r / ceiling
    freed = noiseless_spearman(bootstrap_spearman(values, pair, drawn)[0], ceilings)
    noiseless = float(noiseless_spearman(np.array(rho), ceiling))
    low, high = interval_from(CORRECTED_FROM, corrected, samples, len(x), drawn)
    freed_low, freed_high = interval_from(NOISELESS_FROM, noiseless, freed, len(x), drawn)
    return row | {
        "reliability_a": of_a,
        "reliability_b": of_b,
        "spearman": rho,
        "ceiling": float(spearman_ceiling(ceiling)),
        "noiseless": noiseless,
        "noiseless_low": freed_low,
        "noiseless_high": freed_high,
        "pearson": r,
        "corrected": corrected,
        "corrected_low": low,
        "corrected_high": high,
        "note": "" if ceiling > 0 else "noise explains all of the spread",
    }
