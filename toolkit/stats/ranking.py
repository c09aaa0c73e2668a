"""Rankings under noise: intervals of ranks, flips, overlap of the best, regret."""

import numpy as np

from toolkit.stats.resampling import LEVEL, Floats, Ints

SIMULATIONS = 2000
"""Noisy repetitions of a measured ranking. Our choice."""
Z = 1.959963984540054
"""Standard errors on either side of a `LEVEL` interval."""


def rank_intervals(values: Floats, noise: Floats, seed: int) -> tuple[Ints, Ints]:
    """Lowest and highest rank (1 = least value) that each of ``values`` (n,) takes in the central `LEVEL` of cases.

    ``noise`` (n,) are the standard errors. The cases are `SIMULATIONS` repetitions of the measurement: each value
    drawn from a normal about what was measured.
    """
    rng = np.random.default_rng(seed)
    repeated = values + noise * rng.standard_normal((SIMULATIONS, len(values)))
    ranks = repeated.argsort(axis=1).argsort(axis=1) + 1
    low, high = np.quantile(ranks, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0, method="nearest")
    return low.astype(np.int64), high.astype(np.int64)
