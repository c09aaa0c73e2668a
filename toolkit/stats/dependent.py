"""Two correlations that share a target: is one larger, and what remains when the larger one was picked?"""

from typing import NamedTuple

import numpy as np

from toolkit.stats.correlation import normal_p
from toolkit.stats.resampling import LEVEL, NO_INTERVAL, Floats, Interval


def steiger_p(target_a: float, target_b: float, a_b: float, n: int) -> float:
    """Two-sided p that a target correlates equally with a and with b, from n rows (Steiger 1980, eq. 14).

    ``target_a`` and ``target_b`` are the two correlations, ``a_b`` the one between a and b. Made for Pearson's r;
    used on Spearman's rho as a check of the bootstrap. NaN when n < 4 or a correlation is 1.
    """
    if n < 4 or not max(abs(target_a), abs(target_b)) < 1:
        return float("nan")
    mean = (target_a + target_b) / 2
    shared = a_b * (1 - 2 * mean**2) - mean**2 * (1 - 2 * mean**2 - a_b**2) / 2
    covariance = shared / (1 - mean**2) ** 2
    if not covariance < 1:
        return float("nan")
    z = (np.arctanh(target_a) - np.arctanh(target_b)) * np.sqrt((n - 3) / (2 - 2 * covariance))
    return normal_p(z)


class Choice(NamedTuple):
    """The best of several candidates, with the optimism of having picked it taken off."""

    best: int
    estimate: float
    interval: Interval
    shares: Floats
    """How often each candidate is the best in a resample."""


def honest_best(estimates: Floats, samples: Floats) -> Choice:
    """The candidate with the largest of ``estimates`` (m,), given their bootstrap ``samples`` (m, B).

    Each resample picks its own best; how far that exceeds what the data say of the same candidate is the error of
    picking. Its mean is taken off the estimate, its quantiles off the ends (the basic bootstrap, Davison & Hinkley
    1997, section 5.2, of the whole procedure).
    """
    best = int(np.argmax(estimates))
    usable = samples[:, np.isfinite(samples).all(axis=0)]
    if usable.shape[1] < samples.shape[1] / 2:
        return Choice(best, float("nan"), NO_INTERVAL, np.full(len(estimates), np.nan))
    picked = usable.argmax(axis=0)
    excess = usable.max(axis=0) - estimates[picked]
    low, high = np.quantile(excess, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    shares = np.bincount(picked, minlength=len(estimates)) / len(picked)
    interval = Interval(float(estimates[best] - high), float(estimates[best] - low)) if low < high else NO_INTERVAL
    return Choice(best, float(estimates[best] - excess.mean()), interval, shares)
