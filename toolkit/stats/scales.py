"""Scales on which two accuracies may be compared: raw, logit, probit."""

import numpy as np
from scipy import special

from toolkit.stats.resampling import Floats


def pull_in(share: Floats) -> Floats:
    """``share`` (n,) in 0..1 with 0 and 1 replaced by half the smallest distance from an end that the others have.

    Logit and probit are infinite at 0 and 1. Our choice, after the half count of the empirical logit.
    """
    inside = share[(share > 0) & (share < 1)]
    if len(inside) == 0:
        return np.full(len(share), np.nan)
    margin = min(inside.min(), 1 - inside.max()) / 2
    return np.clip(share, margin, 1 - margin)


def logit(share: Floats) -> Floats:
    """log(p / (1 - p)) of ``share`` (n,) in 0..1; the ends are pulled in (`pull_in`)."""
    return special.logit(pull_in(share))


def probit(share: Floats) -> Floats:
    """The normal quantile of ``share`` (n,) in 0..1; the ends are pulled in (`pull_in`)."""
    return special.ndtri(pull_in(share))
