"""Rankings under noise: intervals of ranks, flips, overlap of the best, regret. The least value is the best."""

from typing import NamedTuple

import numpy as np

from toolkit.stats.kernels import count_inversions
from toolkit.stats.resampling import LEVEL, Floats, Ints, over_blocks

SIMULATIONS = 1000
"""Noisy repetitions of a measured ranking. Our choice."""
Z = 1.959963984540054
"""Standard errors on either side of a `LEVEL` interval."""


def rank_intervals(values: Floats, errors: Floats, seed: int) -> tuple[Ints, Ints]:
    """Lowest and highest rank (1 = least value) that each of ``values`` (n,) takes in the central `LEVEL` of cases.

    ``errors`` (n,) are standard errors. The cases are `SIMULATIONS` repetitions of the measurement, each value drawn
    from a normal about what was measured.
    """
    ranks = _order_rows(_repeat(values, errors, np.random.default_rng(seed))).argsort(axis=1) + 1
    low, high = np.quantile(ranks, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0, method="nearest")
    return low.astype(np.int64), high.astype(np.int64)


class Flips(NamedTuple):
    """Pairs of architectures that two rankings put in opposite order."""

    pairs: int
    inverted: int
    beyond_noise: int
    """Inverted, and apart by more than noise allows on both datasets; -1 when the noise is not known."""


def flips(x: Floats, y: Floats, x_errors: Floats, y_errors: Floats) -> Flips:
    """Count the flips between ``x`` and ``y`` (n,) with standard errors (n,); ties are no flips.

    Beyond noise: each of the two differences is more than `Z` standard errors of a difference from zero.
    """
    n = len(x)
    inverted = beyond = 0
    for i in range(n - 1):
        dx, dy = x[i + 1 :] - x[i], y[i + 1 :] - y[i]
        opposite = dx * dy < 0
        far_x = np.abs(dx) > Z * np.hypot(x_errors[i], x_errors[i + 1 :])
        far_y = np.abs(dy) > Z * np.hypot(y_errors[i], y_errors[i + 1 :])
        inverted += int(opposite.sum())
        beyond += int((opposite & far_x & far_y).sum())
    known = np.isfinite(x_errors).all() and np.isfinite(y_errors).all()
    return Flips(n * (n - 1) // 2, inverted, beyond if known else -1)


def same_ranking_p(x: Floats, y: Floats, x_errors: Floats, y_errors: Floats, seed: int) -> float:
    """Probability that noise alone gives as many flips as ``x`` and ``y`` (n,) show, were the true ranking the same.

    A parametric bootstrap: y's values are moved to the nearest ones that follow x's order (isotonic regression,
    weighted by noise), both are measured again `SIMULATIONS` times, and the flips are counted.
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(x, kind="stable")
    x, y, x_errors, y_errors = x[order], y[order], x_errors[order], y_errors[order]
    weights = 1 / np.maximum(y_errors, np.finfo(float).tiny ** 0.25) ** 2
    same = isotonic_regression(y, weights=weights).x
    rng = np.random.default_rng(seed)
    null = _inversions(_repeat(x, x_errors, rng), _repeat(same, y_errors, rng))
    return float((1 + (null >= _inversions(x[None], y[None])[0]).sum()) / (1 + SIMULATIONS))


def _repeat(values: Floats, errors: Floats, rng: np.random.Generator) -> Floats:
    return values + errors * rng.standard_normal((SIMULATIONS, len(values)))


def _order_rows(values: Floats | Ints) -> Ints:
    return values.argsort(axis=1, kind="stable")


def _inversions(x: Floats, y: Floats) -> Ints:
    """Pairs in opposite order, row by row, of ``x`` and ``y`` (s, n)."""
    by_x = np.take_along_axis(y, _order_rows(x), axis=1)
    counts = np.empty(len(x), np.int64)
    count_inversions(_order_rows(_order_rows(by_x)), counts)
    return counts


def top_overlap(x: Floats, y: Floats, k: int) -> float:
    """Share of the k best by ``x`` (n,) that are among the k best by ``y``; the first ones win ties."""
    best = [set(np.argsort(v, kind="stable")[:k].tolist()) for v in (x, y)]
    return len(best[0] & best[1]) / min(k, len(x))


def regret(x: Floats, y: Floats) -> float:
    """What choosing the best by ``x`` (n,) costs on ``y``: its value there minus the least one, in y's unit."""
    return float(y[np.argmin(x)] - y.min())


def bootstrap_regret(x: Floats, y: Floats, resamples: int, seed: int) -> Floats:
    """`regret` of choosing among ``resamples`` draws of the architectures; (B,)."""

    def of(weights: Ints) -> Floats:
        drawn = weights > 0
        return y[np.where(drawn, x, np.inf).argmin(axis=1)] - np.where(drawn, y, np.inf).min(axis=1)

    return over_blocks(of, len(x), resamples, seed)
