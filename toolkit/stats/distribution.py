"""Distribution functions of errors over a population."""

from typing import NamedTuple

import numpy as np

from toolkit.stats.intervals import clopper_pearson
from toolkit.stats.resampling import Floats


class Distribution(NamedTuple):
    """F(at): the share of architectures with a value of at most ``at``; all (m,)."""

    at: Floats
    share: Floats
    low: Floats
    high: Floats


def distribution(values: Floats, points: int) -> Distribution:
    """The empirical distribution function of ``values`` (n,) at ``points`` quantiles, with pointwise exact bands.

    How many of n values lie below a point is binomial, so the bands are those of `clopper_pearson`.
    """
    at = np.unique(np.quantile(values, np.linspace(0, 1, points), method="inverted_cdf"))
    below = (values[:, None] <= at).sum(axis=0).astype(float)
    low, high = clopper_pearson(below, np.full(len(at), float(len(values))))
    return Distribution(at, below / len(values), low, high)
