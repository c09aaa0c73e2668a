"""Intervals of one measured error, and of one correlation whatever the number of rows."""

import numpy as np
from scipy import special

from toolkit.stats.correlation import MINIMUM, ROUNDING, Statistic
from toolkit.stats.resampling import LEVEL, NO_INTERVAL, Floats, Interval, percentile_interval

BOOTSTRAP_FROM: dict[Statistic, int] = {"spearman": 20, "kendall": 10, "pearson": 100}
"""Rows from which percentiles of the bootstrap hold what they say; fewer take Fisher's z (docs/statistics.md)."""
GAIN_FROM, DEMING_FROM, CORRECTED_FROM = 10, 50, 200
"""Rows from which the bootstrap's percentiles hold for a difference of two Spearman's rho, for a Deming line and for a
correlation freed of noise; with fewer, no interval is given (docs/statistics.md)."""


def clopper_pearson(wrong: Floats, images: Floats) -> tuple[Floats, Floats]:
    """Exact `LEVEL` interval (low, high), as shares, of the error rate behind ``wrong`` of ``images`` (both (n,)).

    Clopper & Pearson 1934, through the quantiles of the beta distribution.
    """
    tail = (1 - LEVEL) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(wrong == 0, 0.0, special.betaincinv(wrong, images - wrong + 1, tail))
        high = np.where(wrong == images, 1.0, special.betaincinv(wrong + 1, images - wrong, 1 - tail))
    return low, high


def correlation_interval(statistic: Statistic, estimate: float, samples: Floats, n: int) -> Interval:
    """`LEVEL` interval of a correlation ``estimate`` from ``n`` rows, with its bootstrap ``samples`` (B,).

    Percentiles of the samples from `BOOTSTRAP_FROM` rows on; below, and where the estimate is 1 or -1,
    `fisher_interval` (none for a Kendall's tau of few rows: no error known holds there).
    For a partial correlation given g columns, ``n`` is the rows less g.
    """
    if n >= BOOTSTRAP_FROM[statistic] and abs(estimate) < 1 - ROUNDING:
        return percentile_interval(samples)
    if statistic == "kendall" and n < BOOTSTRAP_FROM[statistic]:
        return NO_INTERVAL
    return fisher_interval(statistic, estimate, n)


def fisher_interval(statistic: Statistic, estimate: float, n: int) -> Interval:
    """`LEVEL` interval of a correlation of ``n`` rows, normal on the scale of Fisher's z = arctanh(``estimate``).

    Standard errors of z: Spearman sqrt((1 + rho^2 / 2) / (n - 3)) (Bonett & Wright 2000, Psychometrika 65:23), Kendall
    sqrt(0.437 / (n - 4)) (Fieller, Hartley & Pearson 1957, Biometrika 44:470), Pearson sqrt(1 / (n - 3)) (Fisher 1921).
    z has no end at 1: ranks that agree entirely are taken as if one pair of neighbours were swapped, and the interval
    reaches to the estimate. None when n is too small for the error, and for a Pearson of 1.
    """
    if not np.isfinite(estimate) or n < MINIMUM or (statistic == "kendall" and n == MINIMUM):
        return NO_INTERVAL
    most = {"spearman": 1 - 12 / (n * (n**2 - 1)), "kendall": 1 - 4 / (n * (n - 1)), "pearson": 1 - ROUNDING}[statistic]
    if statistic == "pearson" and abs(estimate) >= most:
        return NO_INTERVAL
    inside = max(-most, min(most, estimate))
    errors = {
        "spearman": (1 + inside**2 / 2) / (n - 3),
        "kendall": 0.437 / max(n - 4, 1),
        "pearson": 1 / (n - 3),
    }
    half = special.ndtri((1 + LEVEL) / 2) * np.sqrt(errors[statistic])
    low, high = np.tanh(np.arctanh(inside) - half), np.tanh(np.arctanh(inside) + half)
    return Interval(float(min(low, estimate)), float(max(high, estimate)))


def interval_from(least: int, samples: Floats, n: int) -> Interval:
    """Percentiles of bootstrap ``samples`` (B,) from ``n`` rows; none when these are fewer than ``least``."""
    return percentile_interval(samples) if n >= least else NO_INTERVAL
