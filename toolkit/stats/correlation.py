"""Spearman's rho, Kendall's tau-b and Pearson's r: estimates, bootstrap, p values. Ties are handled everywhere."""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from scipy import special

from toolkit.stats.kernels import rank_correlations, rows_below_and_tied
from toolkit.stats.resampling import Draws, Floats, Ints, over_blocks

Statistic = Literal["spearman", "kendall", "pearson"]
MINIMUM = 4
"""Fewer rows than this give no correlation worth a number."""
PERMUTE_BELOW = 30
"""Rows below which p comes from permutations, not from a limit for many rows. Our choice."""
PERMUTATIONS = 9999
ROUNDING = 1e-12
"""A variance below this share of the mean square is a constant column seen through rounding."""


class Correlations(NamedTuple):
    """One array for each statistic, (pairs,) for estimates, (pairs, B) for resamples."""

    spearman: Floats
    kendall: Floats
    pearson: Floats


def correlations(values: Floats, pairs: Ints) -> Correlations:
    """All three statistics of ``values`` (n, k), finite, for ``pairs`` (p, 2) of columns; each (p,).

    NaN where a column of the pair is constant or n < `MINIMUM`.
    """
    everyone = np.ones((1, len(values)), np.int64)
    return Correlations(*_weighted(values, pairs)(everyone)[..., 0])


def bootstrap_correlations(values: Floats, pairs: Ints, draws: Draws) -> Correlations:
    """The statistics on ``draws`` with replacement of the rows of ``values`` (n, k); each (p, B).

    All pairs see the same draws, so differences between pairs are paired.
    """
    return Correlations(*over_blocks(_weighted(values, pairs), len(values), draws))


def bootstrap_spearman(values: Floats, pairs: Ints, draws: Draws) -> Floats:
    """Spearman's rho alone, on the draws that `bootstrap_correlations` makes of the same rows; (p, B)."""
    ranks = _weighted_ranks(values, pairs, kendall=False)
    return over_blocks(lambda weights: ranks(weights)[0], len(values), draws)


def bootstrap_pearson(values: Floats, pairs: Ints, draws: Draws) -> Floats:
    """Pearson's r alone, on the draws that `bootstrap_correlations` makes of the same rows; (p, B)."""
    return over_blocks(_weighted_pearson(values, pairs), len(values), draws)


def sparse_kendall(values: Floats, errors: Floats, sure: float) -> Floats:
    """Tau-b between all columns of ``values`` (n, k), NaN where there is none, over the rows that both have; (k, k).

    Two rows that differ by no more than ``sure`` standard errors of their difference are a tie, not discord; ``errors``
    are those of the values. After the sparse tau of Yu et al. 2020 (arXiv 1902.08142), who round values into bins:
    there two values next to a bin's edge count as different, however near they are.
    """
    n, k = values.shape
    score, untied = np.zeros((k, k)), np.zeros((k, k))
    for i in range(n - 1):
        apart = values[i + 1 :] - values[i]
        sign = np.where(np.abs(apart) > sure * np.hypot(errors[i + 1 :], errors[i]), np.sign(apart), 0.0)
        score += sign.T @ sign
        untied += np.abs(sign).T @ np.isfinite(apart).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(score / np.sqrt(untied * untied.T))


Weighted = Callable[[Ints], Floats]


def _weighted(values: Floats, pairs: Ints) -> Weighted:
    """All three statistics as a function of row weights (b, n) -> (3, p, b)."""
    ranks, pearson = _weighted_ranks(values, pairs, kendall=True), _weighted_pearson(values, pairs)
    return lambda weights: np.stack([*ranks(weights), pearson(weights)])


def _weighted_ranks(values: Floats, pairs: Ints, kendall: bool) -> Callable[[Ints], tuple[Floats, Floats]]:
    """Rho and tau-b (empty unless ``kendall``) as a function of row weights. Sorts once, for all resamples."""
    order = np.ascontiguousarray(np.argsort(values, axis=0, kind="stable").T)
    group = np.ascontiguousarray(dense_ranks(values).T)
    pairs = np.ascontiguousarray(pairs, np.int64)
    below, same = rows_below_and_tied(group if kendall else group[:0])

    def of(weights: Ints) -> tuple[Floats, Floats]:
        rho = np.full((len(pairs), len(weights)), np.nan)
        tau = np.full((len(pairs) if kendall else 0, len(weights)), np.nan)
        if len(values) >= MINIMUM:
            rank_correlations(order, group, below, same, pairs, weights, rho, tau)
        return rho, tau

    return of


def _weighted_pearson(values: Floats, pairs: Ints) -> Weighted:
    """Pearson's r as a function of row weights (b, n) -> (p, b), by two matrix products."""
    n = len(values)
    centred = values - values.mean(axis=0) if n else values
    moments = np.concatenate([centred, centred**2], axis=1)
    x, y = np.asarray(pairs).T
    products = centred[:, x] * centred[:, y]

    def of(weights: Ints) -> Floats:
        if n < MINIMUM:
            return np.full((len(pairs), len(weights)), np.nan)
        shares = weights / weights.sum(axis=1, keepdims=True)
        means, squares = np.split(shares @ moments, 2, axis=1)
        variances = squares - means**2
        variances[variances <= ROUNDING * squares] = np.nan
        covariances = shares @ products - means[:, x] * means[:, y]
        return np.clip(covariances / np.sqrt(variances[:, x] * variances[:, y]), -1, 1).T

    return of


def dense_ranks(values: Floats) -> Ints:
    """Ranks 0, 1, ... by column of ``values`` (n, k); equal values share one, none is left out."""
    ranks = [np.unique(column, return_inverse=True)[1] for column in values.T]
    return np.stack(ranks, axis=1).astype(np.int64)


def midranks(values: Floats) -> Floats:
    """Ranks 1..n of ``values`` (n,); equal values share the mean of theirs."""
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(size)
    return (last - (size - 1) / 2)[group]


def spearman_influence(x: Floats, y: Floats, rho: float) -> Floats:
    """The influence function of Spearman's ``rho`` of ``x`` and ``y`` (n,) at each row, ties included; (n,)."""
    n = len(x)
    f, g = ((midranks(v) - (n + 1) / 2) / n for v in (x, y))
    xx, yy, xy = f @ f / n, g @ g / n, f @ g / n
    of_xy = f * g + _above(x, g) + _above(y, f) - 3 * xy
    of_xx = f * f + 2 * _above(x, f) - 3 * xx
    of_yy = g * g + 2 * _above(y, g) - 3 * yy
    return np.asarray(of_xy / np.sqrt(xx * yy) - rho / 2 * (of_xx / xx + of_yy / yy))


def _above(x: Floats, g: Floats) -> Floats:
    """For each row i, the mean over rows j of g_j where x_j > x_i, half of it where they are equal; (n,)."""
    _, group = np.unique(x, return_inverse=True)
    sums = np.bincount(group, g)
    from_here = np.cumsum(sums[::-1])[::-1]
    return (from_here - sums / 2)[group] / len(x)


def p_values(statistic: Statistic, values: Floats, pairs: Ints, estimates: Floats, seed: int = 0) -> Floats:
    """Two-sided p of no association for ``pairs`` (p, 2) of columns of ``values`` (n, k) with ``estimates`` (p,); (p,).

    From `PERMUTATIONS` seeded permutations below `PERMUTE_BELOW` rows; from Student's t with n - 2 degrees of freedom
    for rho and r, from the tie-corrected normal limit for tau-b (Kendall 1970, ch. 4) otherwise. NaN without estimate.
    """
    n, known = len(values), np.isfinite(estimates)
    found = np.full(len(pairs), np.nan)
    if not known.any():
        return found
    if n < PERMUTE_BELOW:
        found[known] = _permutation_p(statistic, values, pairs[known], seed)
    elif statistic == "kendall":
        rows = zip(pairs[known], estimates[known], strict=True)
        found[known] = [_kendall_limit_p(values[:, x], values[:, y], tau) for (x, y), tau in rows]
    else:
        found[known] = [t_p(r, n - 2) for r in estimates[known]]
    return found


def t_p(r: float, df: float) -> float:
    """Two-sided p of a correlation ``r`` with ``df`` degrees of freedom, by Student's t."""
    if abs(r) >= 1:
        return 0.0
    t = abs(r) * np.sqrt(df / (1 - r * r))
    return float(2 * special.stdtr(df, -t))


def normal_p(z: float) -> float:
    """Two-sided p of a standard normal deviate."""
    return float(2 * special.ndtr(-abs(z)))


def _kendall_limit_p(x: Floats, y: Floats, tau: float) -> float:
    n = len(x)
    tx, ty = (np.unique(v, return_counts=True)[1].astype(float) for v in (x, y))
    pairs = n * (n - 1)
    tied_x, tied_y = ((t * (t - 1)).sum() for t in (tx, ty))
    triples_x, triples_y = ((t * (t - 1) * (t - 2)).sum() for t in (tx, ty))
    long_x, long_y = ((t * (t - 1) * (2 * t + 5)).sum() for t in (tx, ty))
    variance = (pairs * (2 * n + 5) - long_x - long_y) / 18
    variance += tied_x * tied_y / (2 * pairs) + triples_x * triples_y / (9 * pairs * (n - 2))
    score = tau * np.sqrt((pairs - tied_x) * (pairs - tied_y)) / 2
    return normal_p(score / np.sqrt(variance))


def _permutation_p(statistic: Statistic, values: Floats, pairs: Ints, seed: int) -> Floats:
    """p of each pair; the first column is permuted, once for all of its partners."""
    marks, found = _marks(statistic, values), np.empty(len(pairs))
    shuffled = _shuffled(len(values), seed).T
    for column in np.unique(pairs[:, 0]):
        of_column = pairs[:, 0] == column
        partners = marks[:, pairs[of_column, 1]]
        moved = values[:, column][shuffled] if statistic == "kendall" else marks[:, column][shuffled]
        null = (_marks(statistic, moved) if statistic == "kendall" else moved).T @ partners
        at_least = np.abs(null) >= np.abs(marks[:, column] @ partners) * (1 - 1e-9)
        found[of_column] = (1 + at_least.sum(axis=0)) / (1 + PERMUTATIONS)
    return found


def _marks(statistic: Statistic, values: Floats) -> Floats:
    """Of columns (n, k) that by which the product of two is their statistic, but for a factor that no order changes."""
    if statistic == "kendall":
        i, j = np.triu_indices(len(values), 1)
        return np.sign(values[i] - values[j])
    ranks = np.stack([midranks(column) for column in values.T], axis=1) if statistic == "spearman" else values
    return np.asarray(ranks - ranks.mean(axis=0))


@lru_cache(maxsize=8)
def _shuffled(n: int, seed: int) -> Ints:
    """`PERMUTATIONS` orders of n rows, the same for every pair of columns."""
    return np.random.default_rng(seed).permuted(np.tile(np.arange(n), (PERMUTATIONS, 1)), axis=1)


def holm(p: Floats) -> Floats:
    """Holm's step-down adjustment of ``p`` (m,) for m tests; NaN entries are no tests and stay NaN."""
    adjusted = np.full(len(p), np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted
