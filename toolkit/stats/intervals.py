"""Intervals of one measured error."""

import numpy as np
from scipy import special

from toolkit.stats.resampling import LEVEL, Floats


def clopper_pearson(wrong: Floats, images: Floats) -> tuple[Floats, Floats]:
    """Exact `LEVEL` interval (low, high), as shares, of the error rate behind ``wrong`` of ``images`` (both (n,)).

    Clopper & Pearson 1934, through the quantiles of the beta distribution.
    """
    tail = (1 - LEVEL) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(wrong == 0, 0.0, special.betaincinv(wrong, images - wrong + 1, tail))
        high = np.where(wrong == images, 1.0, special.betaincinv(wrong + 1, images - wrong, 1 - tail))
    return low, high
