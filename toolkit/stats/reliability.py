"""How much of the spread between architectures is real, and what noise leaves possible."""

import numpy as np

from toolkit.stats.resampling import Draws, Floats, over_blocks


def reliability(values: Floats, errors: Floats) -> float:
    """Share of the variance of ``values`` (n,) that is not noise, given their standard ``errors`` (n,).

    The square root is the highest correlation that a noiseless measurement could show with this one (Spearman 1904).
    0 when noise explains all of the spread; NaN when there is no spread.
    """
    return float(_reliability(np.ones((1, len(values))), values, errors)[0])


def bootstrap_reliability(values: Floats, errors: Floats, draws: Draws) -> Floats:
    """`reliability` on ``draws`` of the rows; (B,). Same draws as the correlations'."""
    return over_blocks(lambda weights: _reliability(weights, values, errors), len(values), draws)


def _reliability(weights: np.ndarray, values: Floats, errors: Floats) -> Floats:
    n = weights.sum(axis=1)
    centred = values - values.mean()
    variance = (weights @ centred**2 / n - (weights @ centred / n) ** 2) * n / (n - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(variance > 0, np.maximum(1 - (weights @ errors**2 / n) / variance, 0), np.nan)
