"""Rankings under noise: intervals of ranks, flips, overlap of the best, regret. The least value is the best."""

from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from toolkit.stats.kernels import count_inversions
from toolkit.stats.resampling import LEVEL, Floats, Ints

SIMULATIONS = 1000
"""Noisy repetitions of a measured ranking. Our choice."""
Z = 1.959963984540054
"""Standard errors on either side of a `LEVEL` interval."""


@cache
def surely_apart(n: int) -> float:
    """Standard errors of a difference that no two of ``n`` equal values reach with `LEVEL`, n >= 2 (Tukey 1953)."""
    return float(stats.studentized_range.ppf(LEVEL, n, np.inf) / np.sqrt(2))


def rank_intervals(values: Floats, errors: Floats) -> tuple[Ints, Ints]:
    """Lowest and highest rank (1 = least value) that each of ``values`` (n,) may have; all hold with at least `LEVEL`.

    ``errors`` (n,) are standard errors. A rank is bounded by how many others are surely better and how many surely
    worse (Klein, Wright & Wieczorek 2020, J. R. Stat. Soc. A 183:1057); sure is a difference beyond `surely_apart`
    (Kramer 1956 for unequal errors).
    """
    n = len(values)
    apart = surely_apart(n) if n > 1 else 0.0
    low, high = np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(n):
        needed = apart * np.hypot(errors[i], errors)
        low[i] = 1 + (values < values[i] - needed).sum()
        high[i] = n - (values > values[i] + needed).sum()
    return low, high


class Flips(NamedTuple):
    """Pairs of architectures that two rankings put in opposite order."""

    pairs: int
    inverted: int
    beyond_noise: int
    """Inverted, and apart by more than noise allows on both datasets; -1 when the noise is not known."""
    confirmed: int
    """Inverted, and so far apart that of all so called at most 1 - `LEVEL` are none in expectation; -1 likewise."""


class Noise(NamedTuple):
    """How sure values are: standard errors (n,), and the counts behind them, NaN where they come from elsewhere."""

    errors: Floats
    wrong: Floats
    images: Floats


def flips(x: Floats, y: Floats, x_noise: Noise, y_noise: Noise) -> Flips:
    """Count the flips between ``x`` and ``y`` (n,) with their noise; ties are no flips.

    Beyond noise: each of the two differences is more than `Z` standard errors of a difference from zero. Confirmed: the
    false-discovery rate over all pairs is held (Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57:289). A pair's p, of
    no flip, is the normal tail of the smaller difference in standard errors (Gail & Simon 1985, Biometrics 41:361).
    """
    n = len(x)
    inverted = 0
    distances = [np.empty(0)]
    known = bool(np.isfinite(x_noise.errors).all() and np.isfinite(y_noise.errors).all())
    for i in range(n - 1):
        opposite = i + 1 + np.flatnonzero((x[i + 1 :] - x[i]) * (y[i + 1 :] - y[i]) < 0)
        inverted += len(opposite)
        if known:
            distances.append(np.minimum(_apart(x, x_noise, i, opposite), _apart(y, y_noise, i, opposite)))
    pairs = n * (n - 1) // 2
    if not known:
        return Flips(pairs, inverted, -1, -1)
    found = np.concatenate(distances)
    return Flips(pairs, inverted, int((found > Z).sum()), discoveries(special.ndtr(-found), pairs))


def _apart(values: Floats, noise: Noise, i: int, others: Ints) -> Floats:
    """How far the value of row ``i`` is from those of the rows ``others`` (m,), in standard errors; (m,).

    Where one of two counts is none or all of its images, the normal deviate of Fisher's exact one-sided p.
    """
    with np.errstate(divide="ignore"):
        apart = np.abs(values[others] - values[i]) / np.hypot(noise.errors[i], noise.errors[others])
    at_an_end = (noise.wrong == 0) | (noise.wrong == noise.images)
    exact = (at_an_end[others] | at_an_end[i]) & np.isfinite(noise.wrong[others] + noise.wrong[i])
    if exact.any():
        apart[exact] = _exact_apart(noise, i, others[exact])
    return np.asarray(apart)


def _exact_apart(noise: Noise, i: int, others: Ints) -> Floats:
    mine, images = noise.wrong[i], noise.images[i]
    theirs, their_images = noise.wrong[others], noise.images[others]
    less = mine / images < theirs / their_images
    few = np.where(less, mine, images - mine)  # of wrong, or else of right ones, which are then the fewer
    total = np.where(less, mine + theirs, images + their_images - mine - theirs)
    p = stats.hypergeom.cdf(few, images + their_images, total, images)
    return -np.asarray(special.ndtri(np.minimum(p, 0.5)))


def discoveries(p: Floats, tests: int) -> int:
    """How many of ``tests`` are discoveries, of which ``p`` (m,) are given and the others are 1.

    The false-discovery rate is held at 1 - `LEVEL` (Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57:289).
    """
    passed = np.flatnonzero(np.sort(p) <= (1 - LEVEL) * np.arange(1, len(p) + 1) / tests)
    return int(passed[-1]) + 1 if len(passed) else 0


class SameRanking(NamedTuple):
    """What noise alone would show, were the true rankings equal."""

    p: float
    """Probability of as many flips as were found, or more."""
    beyond_noise: float
    """Expected number of flips beyond noise."""


def same_ranking(x: Floats, y: Floats, x_errors: Floats, y_errors: Floats, seed: int) -> SameRanking:
    """What noise alone would show of flips between ``x`` and ``y`` (n,), were the true rankings the same.

    Were they the same, the true values of both would rise together, so that the null needs no more than how each of the
    two is spread (`_without_noise`): the least of one belongs to the least of the other. Both are measured again
    `SIMULATIONS` times, and flips are counted. A null that is itself estimated shows too few or too many of them, which
    is mended by estimating it once more from each repetition (fast double bootstrap, Davidson & MacKinnon 2007, Comput.
    Stat. Data Anal. 51:3259). The expected number beyond noise is a sum of normal probabilities over the pairs.
    """
    rng = np.random.default_rng(seed)
    nulls = [_without_noise(Measured(v[None], e[None])) for v, e in ((x, x_errors), (y, y_errors))]
    again = [_again(null, rng) for null in nulls]
    once_more = [_again(_without_noise(measured), rng) for measured in again]
    flips_again, flips_once_more = (inversions(*(m.values for m in pair)) for pair in (again, once_more))
    share = float((1 + (flips_again >= inversions(x[None], y[None])[0]).sum()) / (1 + SIMULATIONS))
    as_rare = np.quantile(flips_once_more, max(1 - share, 0.0))
    p = float((1 + (flips_again >= as_rare).sum()) / (1 + SIMULATIONS))
    (x, x_errors), (y, y_errors) = ((null.values[0], null.errors[0]) for null in nulls)
    return SameRanking(p, _expected_beyond(x, y, x_errors, y_errors))


class Measured(NamedTuple):
    """Values and their standard errors, both (s, n)."""

    values: Floats
    errors: Floats


def _without_noise(measured: Measured) -> Measured:
    """The values by rising order, drawn in to the spread that they have beside their noise; the errors go along.

    All are one value where their spread is not beyond noise (chi-squared with n - 1): a spread that chance gives to
    equal nets would leave a null with too few flips.
    """
    order = _order_rows(measured.values)
    values, errors = (np.take_along_axis(v, order, axis=1) for v in measured)
    spread = values.var(axis=1, ddof=1, keepdims=True)
    noise = (errors**2).mean(axis=1, keepdims=True)
    freedom = values.shape[1] - 1
    spread = np.where(spread * freedom > noise * special.chdtri(freedom, 1 - LEVEL), spread, 0.0)
    kept = np.sqrt(np.maximum(spread - noise, 0) / np.where(spread > 0, spread, 1))
    mean = values.mean(axis=1, keepdims=True)
    return Measured(mean + kept * (values - mean), errors)


def _again(true: Measured, rng: np.random.Generator) -> Measured:
    """`SIMULATIONS` measurements of one row of ``true`` values, or one of each of so many rows."""
    shape = SIMULATIONS, true.values.shape[1]
    return Measured(true.values + true.errors * rng.standard_normal(shape), np.broadcast_to(true.errors, shape))


def _expected_beyond(x: Floats, y: Floats, x_errors: Floats, y_errors: Floats) -> float:
    """Expected number of pairs that two measurements of the true ``x`` and ``y`` (n,) flip beyond noise."""
    total = 0.0
    for i in range(len(x) - 1):
        with np.errstate(divide="ignore", invalid="ignore"):
            dx = np.nan_to_num((x[i + 1 :] - x[i]) / np.hypot(x_errors[i], x_errors[i + 1 :]))
            dy = np.nan_to_num((y[i + 1 :] - y[i]) / np.hypot(y_errors[i], y_errors[i + 1 :]))
        up_down = special.ndtr(dx - Z) * special.ndtr(-dy - Z)
        total += float((up_down + special.ndtr(-dx - Z) * special.ndtr(dy - Z)).sum())
    return total


def _order_rows(values: Floats | Ints) -> Ints:
    return values.argsort(axis=1, kind="stable")


def inversions(x: Floats, y: Floats) -> Ints:
    """Pairs in opposite order, row by row, of ``x`` and ``y`` (s, n): how often two rankings flip; (s,)."""
    by_x = np.take_along_axis(y, _order_rows(x), axis=1)
    counts = np.empty(len(x), np.int64)
    count_inversions(_order_rows(_order_rows(by_x)), counts)
    return counts


def top_overlap(x: Floats, y: Floats, k: int) -> float:
    """Share of the k best by ``x`` (n,) that are among the k best by ``y``; its expectation where ties are drawn."""
    return float(_top_chances(x, k) @ _top_chances(y, k)) / min(k, len(x))


def _top_chances(values: Floats, k: int) -> Floats:
    """Chance of each of ``values`` (n,) to be among the k least when ties are broken by lot; (n,)."""
    last = np.sort(values)[min(k, len(values)) - 1]
    below, tied = values < last, values == last
    return below + tied * (min(k, len(values)) - below.sum()) / tied.sum()


def regret(x: Floats, y: Floats) -> float:
    """What choosing the best by ``x`` (n,) costs on ``y``: its value there minus the least one, in y's unit.

    Where several are best by ``x``, the mean of their costs: what a choice by lot costs in expectation.
    """
    return float(y[x == x.min()].mean() - y.min())


def regret_at_most(x: Floats, y: Floats, y_errors: Floats) -> float:
    """What the `regret` is at most that ``y`` (n,) without its noise would show for the same choice; at least `LEVEL`.

    ``y_errors`` (n,) are standard errors, independent of ``x``; NaN without them, or where all are 0. The true regret
    is the largest of the true differences between the choice and each other. One of the others is truly the best, so
    that the largest of the one-sided pointwise bounds holds with `LEVEL` or more: with `LEVEL` where one net is far
    better than all others, with more where several are near the best (after Hsu 1981, Ann. Stat. 9:1026).
    """
    if not np.isfinite(y_errors).all() or not (y_errors > 0).any():
        return float("nan")
    chosen = (x == x.min()) / (x == x.min()).sum()
    spread = np.sqrt(np.maximum(chosen**2 @ y_errors**2 + y_errors**2 - 2 * chosen * y_errors**2, 0))
    return max(float((chosen @ y - y + special.ndtri(LEVEL) * spread).max()), 0.0)
