"""Intervals of one measured error, and of one correlation whatever the number of rows."""

import numpy as np
from scipy import special

from toolkit.stats.correlation import MINIMUM, ROUNDING, Statistic, p_values, spearman_influence
from toolkit.stats.resampling import (
    LEVEL,
    NO_INTERVAL,
    UNDEFINED_ALLOWED,
    Draws,
    Floats,
    Interval,
    Ints,
    percentile_interval,
)

INTERVAL_FROM: dict[Statistic, int] = {"spearman": 9, "kendall": 10, "pearson": 4}
"""Rows from which a correlation has an interval: ranks of fewer take so few values that none holds what it says."""
BOOTSTRAP_FROM: dict[Statistic, int] = {"spearman": 30, "kendall": 10, "pearson": 100}
"""Rows from which the bootstrap alone holds what it says; fewer take Fisher's z (docs/statistics.md)."""
PARTIAL_FROM = 11
"""Rows, more than columns that are held fixed, from which a partial correlation has an interval."""
GAIN_FROM, CORRECTED_FROM = 10, 500
"""Rows from which the bootstrap's percentiles hold for a difference of two Spearman's rho, and for a Pearson's r freed
of noise; with fewer, no interval is given (docs/statistics.md)."""
DEMING_FROM = 20
"""The same for the jackknife of a Deming line."""
NOISELESS_FROM, SPLIT_FROM, BAND_FROM = 50, 20, 8
"""The same for a Spearman's rho freed of noise, for components of variance, and for the band about a line."""
FAMILIES_FROM = 9
"""Families from which resampling them holds what it says; of fewer, no interval is given (docs/statistics.md)."""


def clopper_pearson(wrong: Floats, images: Floats) -> tuple[Floats, Floats]:
    """Exact interval (low, high), as shares, of the error rate behind ``wrong`` of ``images`` (both (n,)).

    It holds the rate with at least `LEVEL`, whatever the rate is: counts are whole numbers, so that no interval of them
    can hold each rate with `LEVEL` (Brown, Cai & DasGupta 2001, Stat. Sci. 16:101, and those nearer to it hold some
    rates less).
    Clopper & Pearson 1934, through the quantiles of the beta distribution.
    """
    tail = (1 - LEVEL) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(wrong == 0, 0.0, special.betaincinv(wrong, images - wrong + 1, tail))
        high = np.where(wrong == images, 1.0, special.betaincinv(wrong + 1, images - wrong, 1 - tail))
    return low, high


def pair_interval(
    statistic: Statistic, x: Floats, y: Floats, estimate: float, samples: Floats, draws: Draws
) -> Interval:
    """`correlation_interval` of ``x`` and ``y`` (n,), whose influence function gives the error of few rows' rho."""
    n, error = len(x), None
    if statistic == "spearman" and INTERVAL_FROM["spearman"] <= n < BOOTSTRAP_FROM["spearman"] and abs(estimate) <= 1:
        influence = spearman_influence(x, y, estimate)
        error = float(np.sqrt(influence @ influence / n / (n - 1)))
    return correlation_interval(statistic, estimate, samples, n, draws, error)


def correlation_interval(
    statistic: Statistic, estimate: float, samples: Floats, n: int, draws: Draws, error: float | None = None
) -> Interval:
    """`LEVEL` interval of a correlation ``estimate`` from ``n`` rows, with its bootstrap ``samples`` (B,) by ``draws``.

    Spearman: percentiles of the samples from `BOOTSTRAP_FROM` rows on, below it `few_rows_interval` with the standard
    ``error`` of rho, or, without one, the samples' deviation drawn in, for rows drawn twice are ties. Kendall: normal,
    with the samples' standard deviation. Pearson: `spread_interval`, below `BOOTSTRAP_FROM` `fisher_interval`, as of
    any estimate of 1 or -1. None of fewer rows than `INTERVAL_FROM`. Of families: `spread_interval`.
    """
    if draws.family_count is not None:
        return spread_interval(estimate, samples, draws.family_count)
    if n < INTERVAL_FROM[statistic]:
        return NO_INTERVAL
    if abs(estimate) >= 1 - ROUNDING or (statistic == "pearson" and n < BOOTSTRAP_FROM["pearson"]):
        return fisher_interval(statistic, estimate, n)
    if statistic == "kendall":
        return _normal_interval(estimate, samples)
    if statistic == "pearson":
        return spread_interval(estimate, samples, n)
    if n >= BOOTSTRAP_FROM["spearman"]:
        return percentile_interval(samples)
    return few_rows_interval(estimate, np.sqrt((n - 2) / n) * _deviation(samples) if error is None else error, n)


def partial_interval(estimate: float, samples: Floats, n: int, given: int, draws: Draws) -> Interval:
    """`correlation_interval` of a Spearman's rho given so many columns, none of fewer rows than `PARTIAL_FROM` of them.

    Of few rows many resamples let two columns follow from each other, and the rest hold the truth too seldom.
    """
    if draws.family_count is None and n < PARTIAL_FROM + given:
        return NO_INTERVAL
    return correlation_interval("spearman", estimate, samples, n - given, draws)


def _normal_interval(estimate: float, samples: Floats) -> Interval:
    """`LEVEL` interval of a correlation by the standard deviation of its ``samples`` (B,); percentiles are too wide."""
    half = special.ndtri((1 + LEVEL) / 2) * _deviation(samples)
    return Interval(float(max(estimate - half, -1)), float(min(estimate + half, 1))) if half > 0 else NO_INTERVAL


def few_rows_interval(rho: float, error: float, n: int) -> Interval:
    """`LEVEL` interval of a Spearman's ``rho`` of few rows, normal on the scale of Fisher's z.

    Its variance is the mean of two: Bonett & Wright's (`fisher_interval`), which is too small where rho is near 1, and
    that of the standard ``error`` of rho without an assumption on the scatter, too small where rho is near 0. Our
    choice: this holds 0.93 to 0.97 at any rho, each alone does not (docs/statistics.md).
    """
    inside = 1 - 12 / (n * (n**2 - 1))
    inside = max(-inside, min(inside, rho))
    z = np.arctanh(inside)
    on_z = error / (1 - inside**2)
    half = special.ndtri((1 + LEVEL) / 2) * np.sqrt((_bonett_wright(inside, n) + on_z**2) / 2)
    return Interval(float(np.tanh(z - half)), float(np.tanh(z + half))) if half > 0 else NO_INTERVAL


def _bonett_wright(rho: float, n: int) -> float:
    return (1 + rho**2 / 2) / (n - 3)


def _deviation(samples: Floats) -> float:
    """Standard deviation of bootstrap ``samples`` (B,); NaN where more than `UNDEFINED_ALLOWED` have no value."""
    defined = samples[np.isfinite(samples)]
    return float(defined.std(ddof=1)) if len(defined) >= (1 - UNDEFINED_ALLOWED) * len(samples) else float("nan")


def spread_interval(estimate: float, samples: Floats, units: int) -> Interval:
    """`LEVEL` interval of a correlation by its ``samples``' (B,) spread: `family_interval` on the scale of Fisher's z.

    ``units``: families that were drawn, or rows. Percentiles of Pearson's r are a little too narrow at 100 to 200 rows.
    """
    z, half = _family_z(estimate, samples, units)
    low, high = np.tanh(z - half), np.tanh(z + half)
    return Interval(float(low), float(high)) if low < high else NO_INTERVAL


def p_of(statistic: Statistic, values: Floats, pairs: Ints, estimates: Floats, samples: Floats, draws: Draws) -> Floats:
    """Two-sided p of no association: `p_values`, or of families by the same error as `correlation_interval`; (p,).

    ``samples`` (p, B) are of ``estimates`` (p,) for ``pairs`` (p, 2) of columns of ``values`` (n, k).
    """
    count = draws.family_count
    if count is None:
        return p_values(statistic, values, pairs, estimates, draws.seed)
    return np.array([family_p(*row, count) for row in zip(estimates, samples, strict=True)])


def family_p(estimate: float, samples: Floats, families: int) -> float:
    """Two-sided p of no correlation from ``samples`` (B,) that drew whole ``families``."""
    z, half = _family_z(estimate, samples, families)
    freedom = max(families - 2, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = abs(z) / half * special.stdtrit(freedom, (1 + LEVEL) / 2)
    return float(2 * special.stdtr(freedom, -t))


def _family_z(estimate: float, samples: Floats, families: int) -> tuple[float, float]:
    """Fisher's z of a correlation, and half of its interval's width."""
    inside = 1 - ROUNDING
    z = float(np.arctanh(np.clip(estimate, -inside, inside)))
    return z, _spread_half(np.arctanh(np.clip(samples, -inside, inside)), families)


def family_interval(estimate: float, samples: Floats, families: int) -> Interval:
    """`LEVEL` interval about an ``estimate`` whose ``samples`` (B,) drew whole ``families``.

    The samples' standard deviation, widened for few families, times Student's t with ``families`` - 2 degrees of
    freedom (as with few clusters, Cameron & Miller 2015, J. Hum. Resour. 50:317; percentiles are too narrow there).
    None of fewer than `FAMILIES_FROM`.
    """
    half = _spread_half(samples, families)
    return Interval(float(estimate - half), float(estimate + half)) if half > 0 else NO_INTERVAL


def _spread_half(samples: Floats, families: int) -> float:
    if families < FAMILIES_FROM:
        return float("nan")
    quantile = special.stdtrit(families - 2, (1 + LEVEL) / 2)
    return float(quantile * np.sqrt(families / (families - 2)) * _deviation(samples))


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
        "spearman": _bonett_wright(inside, n),
        "kendall": 0.437 / max(n - 4, 1),
        "pearson": 1 / (n - 3),
    }
    half = special.ndtri((1 + LEVEL) / 2) * np.sqrt(errors[statistic])
    low, high = np.tanh(np.arctanh(inside) - half), np.tanh(np.arctanh(inside) + half)
    return Interval(float(min(low, estimate)), float(max(high, estimate)))


def interval_from(least: int, estimate: float, samples: Floats, n: int, draws: Draws) -> Interval:
    """Percentiles of bootstrap ``samples`` (B,) from ``n`` rows; none when these are fewer than ``least``.

    Of families: `family_interval` about the ``estimate``.
    """
    if n < least:
        return NO_INTERVAL
    return (
        percentile_interval(samples)
        if draws.family_count is None
        else family_interval(estimate, samples, draws.family_count)
    )


def share_interval(share: float, samples: Floats, n: int, draws: Draws) -> Interval:
    """`LEVEL` interval of a ``share`` between 0 and 1 from ``n`` rows, as `family_interval` on the scale of the logit.

    The samples' deviation is taken as it is and carried to that scale at the share: logits of single samples, of which
    some are next to 0, spread too far. Rows drawn one by one count as families of one. None of fewer than `SPLIT_FROM`
    rows, nor of a share of 0 or 1.
    """
    if n < SPLIT_FROM or not 0 < share < 1:
        return NO_INTERVAL
    half = _spread_half(samples, n if draws.family_count is None else draws.family_count) / (share * (1 - share))
    low, high = special.expit(special.logit(share) - half), special.expit(special.logit(share) + half)
    return Interval(float(low), float(high)) if low < high else NO_INTERVAL
