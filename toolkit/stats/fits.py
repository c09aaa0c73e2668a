"""Straight lines between two datasets: ordinary least squares, and Deming where both carry noise."""

from typing import NamedTuple

import numpy as np
from scipy import special

from toolkit.stats.correlation import ROUNDING
from toolkit.stats.intervals import DEMING_FROM, family_interval
from toolkit.stats.resampling import LEVEL, NO_INTERVAL, Draws, Floats, Interval, over_blocks


class Line(NamedTuple):
    """y = intercept + slope x."""

    slope: float
    slope_interval: Interval
    intercept: float
    intercept_interval: Interval


class OLS(NamedTuple):
    """A least-squares line with its quality."""

    line: Line
    r2: float
    adjusted_r2: float
    residual_sd: float
    """Of y, with n - 2 degrees of freedom."""


def ols(x: Floats, y: Floats, draws: Draws | None = None) -> OLS:
    """Least-squares line of ``y`` on ``x`` (n,), n >= 3, x not constant; intervals by Student's t with n - 2.

    No intervals where the points lie on the line: without residuals nothing tells how far the line could be off. Where
    ``draws`` are of families, whose points leave the line together, intervals by `family_interval`.
    """
    n = len(x)
    dx, dy = x - x.mean(), y - y.mean()
    sxx, syy = dx @ dx, dy @ dy
    slope = (dx @ dy) / sxx
    intercept = y.mean() - slope * x.mean()
    residual = dy - slope * dx
    variance = residual @ residual / (n - 2)
    quantile = special.stdtrit(n - 2, (1 + LEVEL) / 2)
    half_slope = quantile * np.sqrt(variance / sxx)
    half_intercept = quantile * np.sqrt(variance * (1 / n + x.mean() ** 2 / sxx))
    r2 = 1 - (residual @ residual) / syy if syy > 0 else np.nan
    on_line = variance <= ROUNDING * syy
    line = Line(
        float(slope),
        NO_INTERVAL if on_line else Interval(float(slope - half_slope), float(slope + half_slope)),
        float(intercept),
        NO_INTERVAL if on_line else Interval(float(intercept - half_intercept), float(intercept + half_intercept)),
    )
    if draws and draws.family_count is not None:
        line = _with_families(line, x, y, np.inf, draws)
    return OLS(line, float(r2), float(1 - (1 - r2) * (n - 1) / (n - 2)), float(np.sqrt(variance)))


def _with_families(line: Line, x: Floats, y: Floats, noise_ratio: float, draws: Draws) -> Line:
    of_slope, of_intercept = _resampled(x, y, noise_ratio, draws)
    families = draws.family_count or 0
    return line._replace(
        slope_interval=family_interval(line.slope, of_slope, families),
        intercept_interval=family_interval(line.intercept, of_intercept, families),
    )


def deming(x: Floats, y: Floats, noise_ratio: float, draws: Draws) -> Line:
    """The line through ``x`` and ``y`` (n,) when both are measured with noise (Deming 1943).

    ``noise_ratio`` is the variance of y's noise over that of x's; 1 gives orthogonal regression. Intervals from
    `DEMING_FROM` rows on, by the jackknife and Student's t with n - 2 (Linnet 1993, Clin. Chem. 39:424); where
    ``draws`` are of families, by `family_interval`. None where all points lie on the line.
    """
    columns = _columns(x, y)
    slope, intercept = (float(v[0]) for v in _line(columns.mean(axis=0)[:, None], noise_ratio))
    line = Line(slope, NO_INTERVAL, intercept, NO_INTERVAL)
    if draws.family_count is not None:
        return _with_families(line, x, y, noise_ratio, draws)
    if len(x) < DEMING_FROM:
        return line
    of_slope, of_intercept = _line(((columns.sum(axis=0) - columns) / (len(x) - 1)).T, noise_ratio)
    return Line(slope, _jackknife(slope, of_slope), intercept, _jackknife(intercept, of_intercept))


def _jackknife(estimate: float, without_one: Floats) -> Interval:
    """`LEVEL` interval from the estimates without each row (n,): their spread, Student's t with n - 2."""
    n = len(without_one)
    error = np.sqrt((n - 1) * without_one.var())
    half = float(special.stdtrit(n - 2, (1 + LEVEL) / 2) * error)
    return Interval(estimate - half, estimate + half) if half > ROUNDING * abs(estimate) else NO_INTERVAL


def _columns(x: Floats, y: Floats) -> Floats:
    return np.stack([x, y, x * x, x * y, y * y], axis=1)


def _resampled(x: Floats, y: Floats, ratio: float, draws: Draws) -> Floats:
    """Slopes and intercepts of resampled rows (2, B)."""
    columns = _columns(x, y)
    return over_blocks(
        lambda weights: np.stack(_line((weights @ columns).T / weights.sum(axis=1), ratio)), len(x), draws
    )


def _line(moments: Floats, ratio: float) -> tuple[Floats, Floats]:
    """Slopes and intercepts (b,) from means of x, y, xx, xy, yy (5, b); least squares when all noise is y's."""
    x, y, xx, xy, yy = moments
    sxx, sxy, syy = xx - x * x, xy - x * y, yy - y * y
    with np.errstate(divide="ignore", invalid="ignore"):
        if np.isinf(ratio):
            slope = sxy / sxx
        else:
            lean = syy - ratio * sxx
            slope = (lean + np.sqrt(lean**2 + 4 * ratio * sxy**2)) / (2 * sxy)
    return slope, y - slope * x


class LeftOut(NamedTuple):
    """Each value as the others predict it; all (n,)."""

    expected: Floats
    low: Floats
    high: Floats
    p: Floats
    """Two-sided, of no more than chance between the value and the line."""


def left_out(x: Floats, y: Floats) -> LeftOut:
    """``y`` (n,) as the least-squares line of all others on ``x`` predicts it, with `LEVEL` prediction intervals.

    Externally studentized residuals (Cook & Weisberg 1982, ch. 2), Student's t with n - 3; n >= 5, ``x`` not constant.
    """
    n = len(x)
    dx = x - x.mean()
    leverage = 1 / n + dx**2 / (dx @ dx)
    residual = y - y.mean() - (dx @ y) / (dx @ dx) * dx
    alone = residual / (1 - leverage)
    variance = np.maximum(residual @ residual - residual * alone, 0) / (n - 3)
    error = np.sqrt(variance / (1 - leverage))
    half = special.stdtrit(n - 3, (1 + LEVEL) / 2) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * special.stdtr(n - 3, -np.abs(alone / error))
    return LeftOut(y - alone, y - alone - half, y - alone + half, np.where(np.isfinite(p), p, 1.0))
