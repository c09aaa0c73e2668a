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


def spearman_ceiling(ceiling: Floats) -> Floats:
    """The Spearman's rho of a normal pair whose Pearson's r is ``ceiling`` (any shape; Kendall 1970, ch. 9)."""
    return np.asarray(6 / np.pi * np.arcsin(np.asarray(ceiling) / 2))


def noiseless_spearman(rho: Floats, ceiling: Floats) -> Floats:
    """Spearman's ``rho`` of noiseless measurements, where noise leaves a ``ceiling`` to Pearson's r (any shape).

    Attenuation is Pearson's (Spearman 1904): rho is carried to the r of a normal pair, divided there, and carried back.
    At most 1 in size; NaN where the ceiling is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        r = 2 * np.sin(np.pi / 6 * np.asarray(rho)) / np.asarray(ceiling)
    return spearman_ceiling(np.clip(np.where(np.isfinite(r), r, np.nan), -1, 1))
