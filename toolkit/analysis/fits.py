"""Straight lines through accuracies, and improvement over a baseline. The scale is always named."""

from typing import Any

import numpy as np

from toolkit.analysis.families import draws
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.ranking import standard_errors
from toolkit.analysis.roles import Roles
from toolkit.analysis.settings import Settings
from toolkit.analysis.table import Table, table
from toolkit.names import unknown
from toolkit.stats.correlation import MINIMUM
from toolkit.stats.fits import deming, ols
from toolkit.stats.intervals import DEMING_FROM
from toolkit.stats.resampling import Floats
from toolkit.stats.scales import logit, probit


def accuracies(data: Measurements, dataset: str) -> Floats:
    """Accuracy on ``dataset`` in percent; where errors have another unit, from which none follows, the errors."""
    values = data.column(dataset)
    return 100 - values if data.quantity == "error" and data.unit == "%" else values


def word(data: Measurements) -> str:
    """What `accuracies` gives."""
    return "error" if data.quantity == "error" and data.unit != "%" else "accuracy"


def baseline(data: Measurements, roles: Roles, settings: Settings) -> str:
    """The architecture that others are compared with. Raises `UsageError` for an unknown one."""
    if settings.baseline is not None:
        if settings.baseline not in data.architectures:
            raise unknown("architecture", settings.baseline, data.architectures)
        return settings.baseline
    values = data.sign * data.column(roles.reference)
    return data.architectures[int(np.nanargmax(values))] if np.isfinite(values).any() else data.architectures[0]


def improvement(data: Measurements, roles: Roles, settings: Settings) -> Table:
    """Accuracy (see `word`) of each architecture over the baseline's, by dataset, best on the reference first."""
    base = baseline(data, roles, settings)
    row_of_base = data.architectures.index(base)
    ratios = {name: accuracies(data, name) / accuracies(data, name)[row_of_base] for name in data.datasets}
    best_first = ratios[roles.reference] * (1 if word(data) == "error" else -1)
    order = np.argsort(np.nan_to_num(best_first, nan=np.inf), kind="stable")
    rows = [{"architecture": data.architectures[i]} | {name: ratios[name][i] for name in ratios} for i in order]
    return table(
        "improvement", f"{word(data).title()} relative to {base}", rows, f"{word(data)} divided by that of {base}"
    )


def fits(data: Measurements, roles: Roles, settings: Settings) -> Table:
    """Least-squares and Deming lines of every dataset's accuracy on the reference's, on ``settings.scale``."""
    others = [name for name in data.datasets if name != roles.reference]
    rows = [_fit(data, roles, other, settings) for other in others]
    what = {"ratio": f"{word(data)} over {baseline(data, roles, settings)}'s"}.get(settings.scale, word(data))
    note = (
        f"{settings.scale} scale: {what}, {_unit(data, settings)}; least squares with t intervals; "
        "Deming allows for noise in both, intervals by the jackknife (of families: by drawing them) from "
        f"{DEMING_FROM} architectures on; no interval where all lie on the line"
    )
    return table(
        "fits", f"{word(data).title()} on other datasets as a line of {word(data)} on {roles.reference}", rows, note
    )


def _unit(data: Measurements, settings: Settings) -> str:
    units = {
        "raw": f"in {data.unit or 'its own unit'}",
        "ratio": "no unit",
        "logit": "in logits",
        "probit": "in probits",
    }
    return units[settings.scale]


def _scaled(data: Measurements, dataset: str, roles: Roles, settings: Settings) -> Floats:
    values = accuracies(data, dataset)
    if settings.scale == "ratio":
        return np.asarray(values / values[data.architectures.index(baseline(data, roles, settings))])
    if settings.scale == "raw":
        return values
    if data.unit != "%":
        return np.full(len(values), np.nan)
    finite = np.isfinite(values)
    scaled = np.full(len(values), np.nan)
    scaled[finite] = {"logit": logit, "probit": probit}[settings.scale](values[finite] / 100)
    return scaled


def _fit(data: Measurements, roles: Roles, other: str, settings: Settings) -> dict[str, Any]:
    x, y = (_scaled(data, name, roles, settings) for name in (roles.reference, other))
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    row: dict[str, Any] = {"dataset": other, "scale": settings.scale, "n": len(x)}
    if len(x) < MINIMUM or np.ptp(x) == 0 or np.ptp(y) == 0:
        return row | {"note": "too few" if len(x) < MINIMUM else "one of the two is constant"}
    drawn = draws(data, settings, both)
    fit = ols(x, y, drawn)
    ratio, source = _noise_ratio(data, roles.reference, other, settings)
    line = deming(x, y, ratio, drawn)
    return row | {
        "slope": fit.line.slope,
        "slope_low": fit.line.slope_interval.low,
        "slope_high": fit.line.slope_interval.high,
        "intercept": fit.line.intercept,
        "intercept_low": fit.line.intercept_interval.low,
        "intercept_high": fit.line.intercept_interval.high,
        "r2": fit.r2,
        "adjusted_r2": fit.adjusted_r2,
        "residual_sd": fit.residual_sd,
        "deming_slope": line.slope,
        "deming_slope_low": line.slope_interval.low,
        "deming_slope_high": line.slope_interval.high,
        "deming_intercept": line.intercept,
        "noise_ratio": ratio,
        "note": source,
    }


def _noise_ratio(data: Measurements, a: str, b: str, settings: Settings) -> tuple[float, str]:
    """Variance of b's noise over a's on the raw scale; 1 where it is not known or the scale is another one."""
    (x, known_x), (y, known_y) = (standard_errors(data, name, settings) for name in (a, b))
    if settings.scale != "raw" or not (known_x and known_y) or not np.nansum(x**2) > 0 or not np.nansum(y**2) > 0:
        return 1.0, "equal noise assumed (Deming)"
    return float(np.nanmean(y**2) / np.nanmean(x**2)), f"noise from {known_x} and {known_y}"
