"""Many rankings of the same nets at once: do they agree, and which nets differ over all of them?"""

from typing import NamedTuple

import numpy as np
from scipy import special, stats

from toolkit.stats.correlation import PERMUTATIONS
from toolkit.stats.ranking import surely_apart
from toolkit.stats.resampling import Floats

PERMUTE_BELOW = 10
"""Nets below which p comes from orders by lot: Iman and Davenport's refuses 6 to 8 of 100 there at 0.05."""


class Concordance(NamedTuple):
    """What k rankings of n nets have in common."""

    w: float
    """Kendall's W: 0 for none, 1 for the same order in all."""
    p: float
    """Of orders by lot: Friedman's test in the form of Iman & Davenport (1980); of few nets by permutations."""
    mean_ranks: Floats
    """1 is the best; (n,)."""
    critical_difference: float
    """Of two mean ranks, all pairs together: Nemenyi's test (Demsar 2006, J. Mach. Learn. Res. 7:1)."""


def concordance(values: Floats) -> Concordance:
    """Concordance of the columns of ``values`` (n, k), without gaps, n >= 3 and k >= 2; the least value ranks first.

    Ties share their mean rank and are allowed for in W. NaN for a W without any order.
    """
    n, k = values.shape
    ranks = stats.rankdata(values, axis=0)
    spread = ((ranks - (n + 1) / 2) ** 2).sum()
    mean = ranks.mean(axis=1)
    w = float(k * ((mean - (n + 1) / 2) ** 2).sum() / spread) if spread > 0 else float("nan")
    with np.errstate(divide="ignore"):
        f = (k - 1) * w / (1 - w) if w < 1 else np.inf
    p = _permutation_p(ranks) if n < PERMUTE_BELOW else float(special.fdtrc(n - 1, (n - 1) * (k - 1), f))
    return Concordance(w, p, mean, surely_apart(n) * float(np.sqrt(n * (n + 1) / (6 * k))))


def _permutation_p(ranks: Floats) -> float:
    """Chance of sums of ``ranks`` (n, k) as far from each other when every column is in an order by lot."""
    rng = np.random.default_rng(0)
    sums = sum(rng.permuted(np.tile(column, (PERMUTATIONS, 1)), axis=1) for column in ranks.T)
    spread, found = np.var(sums, axis=1), ranks.sum(axis=1).var()
    return float((1 + (spread >= found * (1 - 1e-9)).sum()) / (1 + PERMUTATIONS))


def mean_rank_bounds(found: Concordance) -> tuple[Floats, Floats]:
    """Lowest and highest place of each net by its mean rank, all together: surely better and worse ones counted."""
    apart = found.mean_ranks[:, None] - found.mean_ranks
    better = (apart > found.critical_difference).sum(axis=1)
    worse = (apart < -found.critical_difference).sum(axis=1)
    return 1 + better, len(better) - worse
