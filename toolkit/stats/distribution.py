"""Distribution functions of errors over a population."""

from typing import NamedTuple

import numpy as np

from toolkit.stats.resampling import LEVEL, Floats, over_blocks


class Distribution(NamedTuple):
    """F(at): the share of architectures with a value of at most ``at``; all (m,)."""

    at: Floats
    share: Floats
    low: Floats
    high: Floats


def distribution(values: Floats, points: int, resamples: int, seed: int) -> Distribution:
    """The empirical distribution function of ``values`` (n,) at ``points`` quantiles, with pointwise bands."""
    at = np.unique(np.quantile(values, np.linspace(0, 1, points), method="inverted_cdf"))
    below = (values[:, None] <= at).astype(float)
    samples = over_blocks(lambda weights: (weights @ below / len(values)).T, len(values), resamples, seed)
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    return Distribution(at, below.mean(axis=0), low, high)
