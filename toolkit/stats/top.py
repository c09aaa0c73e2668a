"""Do two rankings agree where it matters, among the best? The least value is the best."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from toolkit.stats.resampling import Floats, Ints

PERSISTENCE = 0.9
"""Of `rank_biased_overlap`: the chance to look one rank further; the first ten ranks weigh 0.86."""
DEEPEST = 200
"""Depth beyond which nothing is seen: `PERSISTENCE` to its power is below 1e-9."""


def weighted_tau(x: Floats, y: Floats) -> float:
    """Kendall's tau of ``x`` and ``y`` (n,) whose flips among the best weigh most (Vigna 2015, hyperbolic weights)."""
    return float(stats.weightedtau(-x, -y).statistic)


def rank_biased_overlap(x: Floats, y: Floats) -> float:
    """Overlap of the two lists of the best, weighted towards their heads (Webber, Moffat & Zobel 2010, eq. 32).

    1 for the same order, towards 0 for lists without a net in common. Ties by expectation.
    """
    depths = np.arange(1, min(len(x), DEEPEST) + 1)
    overlaps = (_chances(x, depths) * _chances(y, depths)).sum(axis=0) / depths
    weights = PERSISTENCE**depths
    return float(overlaps[-1] * weights[-1] + (1 - PERSISTENCE) / PERSISTENCE * (overlaps @ weights))


def _chances(values: Floats, depths: Ints) -> Floats:
    """Chance of each of ``values`` (n,) to be among so many least ones, ties broken by lot; (n, depths)."""
    below = stats.rankdata(values, "min") - 1
    tied = stats.rankdata(values, "max") - below
    return np.clip((depths - below[:, None]) / tied[:, None], 0, 1)


def regret_of_best(x: Floats, y: Floats, k: int) -> float:
    """What trying only the ``k`` best by ``x`` and taking the best of them loses on ``y`` (n,), in y's unit.

    Where the k-th is tied, the mean over all ways to fill up by lot.
    """
    last = np.sort(x)[k - 1]
    sure, tied = y[x < last], np.sort(y[x == last])
    taken = k - len(sure)
    least = np.minimum(tied, sure.min() if len(sure) else np.inf)
    rest = len(tied) - 1 - np.arange(len(tied))
    chances = np.exp(_log_choose(rest, taken - 1) - _log_choose(np.array(len(tied)), taken))
    return float(chances @ least - y.min())


def _log_choose(n: ArrayLike, k: int) -> Floats:
    """log of n over k; minus infinity where k is more than n."""
    inside = np.maximum(np.asarray(n, float), k)
    found = special.gammaln(inside + 1) - special.gammaln(k + 1) - special.gammaln(inside - k + 1)
    return np.where(np.asarray(n) >= k, found, -np.inf)
