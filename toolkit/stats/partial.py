"""Correlation of two columns with others held fixed."""

import numpy as np

from toolkit.stats.correlation import bootstrap_spearman, correlations
from toolkit.stats.resampling import Draws, Floats


def partial_spearman(values: Floats, draws: Draws) -> tuple[float, Floats]:
    """Spearman's rho of the first two columns of ``values`` (n, 2 + g) given the other g, and (B,) resamples of it.

    From the inverse of the matrix of rank correlations (Kendall 1970, ch. 8, for one given column). NaN where a
    column is constant or given ones determine each other.
    """
    k = values.shape[1]
    pairs = np.argwhere(np.triu(np.ones((k, k)), 1))
    estimate = _partial(correlations(values, pairs).spearman[:, None], pairs, k)
    samples = _partial(bootstrap_spearman(values, pairs, draws), pairs, k)
    return float(estimate[0]), samples


def _partial(rho: Floats, pairs: np.ndarray, k: int) -> Floats:
    """Partial correlations (b,) of columns 0 and 1 from the pairs' correlations (p, b)."""
    full = np.tile(np.eye(k), (rho.shape[1], 1, 1))
    for (i, j), values in zip(pairs, rho, strict=True):
        full[:, i, j] = full[:, j, i] = values
    result = np.full(len(full), np.nan)
    regular = np.asarray(np.isfinite(full).all(axis=(1, 2)))
    regular[regular] = np.linalg.det(full[regular]) > 1e-9
    inverse = np.linalg.inv(full[regular])
    result[regular] = -inverse[:, 0, 1] / np.sqrt(inverse[:, 0, 0] * inverse[:, 1, 1])
    return result
