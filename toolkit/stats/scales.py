"""Scales on which accuracies of two datasets may be compared."""

import numpy as np
from scipy import special

from toolkit.stats.resampling import Floats


def pull_in(share: Floats) -> Floats:
    """``share`` (n,) in 0..1, with 0 and 1 moved inside by half of the smallest distance that others have to an end.

    Logit and probit are infinite at 0 and 1. Our choice, after the half count of the empirical logit.
    """
    inside = share[(share > 0) & (share < 1)]
    if len(inside) == 0:
        return np.full(len(share), np.nan)
    margin = min(inside.min(), 1 - inside.max()) / 2
    return np.clip(share, margin, 1 - margin)


def logit(share: Floats) -> Floats:
    """log(p / (1 - p)) of ``share`` (n,) in 0..1; the ends are pulled in (`pull_in`)."""
    return np.asarray(special.logit(pull_in(share)))


def probit(share: Floats) -> Floats:
    """The normal quantile of ``share`` (n,) in 0..1; the ends are pulled in (`pull_in`)."""
    return np.asarray(special.ndtri(pull_in(share)))
