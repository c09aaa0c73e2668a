"""Simulated studies whose truth is known: each says whether an interval of the report held it."""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.random import Generator

from toolkit.stats.concordance import concordance
from toolkit.stats.correlation import (
    Statistic,
    bootstrap_correlations,
    bootstrap_pearson,
    bootstrap_spearman,
    correlations,
    midranks,
)
from toolkit.stats.dependent import honest_best
from toolkit.stats.distribution import distribution
from toolkit.stats.fits import deming, left_out, ols
from toolkit.stats.intervals import (
    BOOTSTRAP_FROM,
    CORRECTED_FROM,
    GAIN_FROM,
    INTERVAL_FROM,
    NOISELESS_FROM,
    clopper_pearson,
    interval_from,
    pair_interval,
    partial_interval,
    share_interval,
)
from toolkit.stats.partial import partial_spearman
from toolkit.stats.ranking import Noise, discoveries, flips, inversions, rank_intervals, regret_at_most, same_ranking
from toolkit.stats.reliability import bootstrap_reliability, noiseless_spearman, reliability
from toolkit.stats.resampling import Draws, Floats, Interval, Ints
from toolkit.stats.variance import bootstrap_split, split

RESAMPLES = 500
PAIR = np.array([[0, 1]])


def _held(interval: Interval, truth: float) -> float | None:
    return float(interval.low <= truth <= interval.high) if np.isfinite(interval.low) else None


def _normal(rng: Generator, n: int, *correlation: float) -> Floats:
    """(n, 2) or (n, 3) normal values with the correlations of 0 with 1, 0 with 2, 1 with 2."""
    k = 2 if len(correlation) == 1 else 3
    matrix = np.eye(k)
    matrix[np.triu_indices(k, 1)] = correlation
    matrix = np.maximum(matrix, matrix.T)
    return rng.standard_normal((n, k)) @ np.linalg.cholesky(matrix).T


def _of_ranks(r: float) -> float:
    """Spearman's rho of a normal pair (Kendall 1970, ch. 9)."""
    return float(6 / np.pi * np.arcsin(r / 2))


def pair(statistic: Statistic, r: float, n: int, rng: Generator) -> float | None:
    """A normal pair of correlation ``r``."""
    return _pair_held(statistic, _normal(rng, n, r), r, _draws(rng))


def families_pair(statistic: Statistic, r: float, shared: float, count: int, rng: Generator) -> float | None:
    """``count`` families of 1 to 15 nets, 8 in the mean, that share so much of both values' variance."""
    sizes = rng.integers(1, 16, size=count)
    family = np.repeat(np.arange(count), sizes)
    values = np.sqrt(shared) * _normal(rng, count, r)[family] + np.sqrt(1 - shared) * _normal(rng, len(family), r)
    return _pair_held(statistic, values, r, _draws(rng, family))


def _draws(rng: Generator, families: Ints | None = None) -> Draws:
    return Draws(RESAMPLES, int(rng.integers(2**31)), families)


def _pair_held(statistic: Statistic, values: Floats, r: float, drawn: Draws) -> float | None:
    unused = len(values) < max(INTERVAL_FROM[statistic], BOOTSTRAP_FROM[statistic]) and drawn.families is None
    samples = np.empty(0) if unused else _bootstrap(statistic)(values, PAIR, drawn)[0]
    estimate = float(getattr(correlations(values, PAIR), statistic)[0])
    truth = {"spearman": _of_ranks(r), "kendall": float(2 / np.pi * np.arcsin(r)), "pearson": r}[statistic]
    return _held(pair_interval(statistic, values[:, 0], values[:, 1], estimate, samples, drawn), truth)


def _bootstrap(statistic: Statistic) -> Callable[[Floats, Ints, Draws], Floats]:
    """One statistic's resamples, (pairs, B); Kendall's come with all three, the dear way."""
    alone = {"spearman": bootstrap_spearman, "pearson": bootstrap_pearson}
    return alone.get(statistic, lambda *drawn: bootstrap_correlations(*drawn).kendall)


def partial_pair(r: float, n: int, rng: Generator) -> float | None:
    """Both columns correlate 0.6 with the given one, and ``r`` with each other."""
    drawn = _draws(rng)
    estimate, samples = partial_spearman(_normal(rng, n, r, 0.6, 0.6), drawn)
    given = _of_ranks(0.6) ** 2
    interval = partial_interval(estimate, samples, n, 1, drawn)
    return _held(interval, (_of_ranks(r) - given) / (1 - given))


def gain(r: float, n: int, rng: Generator) -> float | None:
    """One column correlates ``r`` with a target, another 0.2 less."""
    values, pairs, drawn = _normal(rng, n, r, r - 0.2, 0.5), np.array([[0, 1], [0, 2]]), _draws(rng)
    samples = bootstrap_spearman(values, pairs, drawn)
    estimates = correlations(values, pairs).spearman
    interval = interval_from(GAIN_FROM, float(estimates[0] - estimates[1]), samples[0] - samples[1], n, drawn)
    return _held(interval, _of_ranks(r) - _of_ranks(r - 0.2))


def best(n: int, rng: Generator) -> float | None:
    """Six candidates that are worth as much as what they are compared with."""
    shared = rng.standard_normal((n, 1))
    values = np.concatenate([shared, shared + rng.standard_normal((n, 7))], axis=1)
    pairs = np.array([(0, j) for j in range(1, 8)])
    rho = correlations(values, pairs).spearman
    samples = bootstrap_spearman(values, pairs, _draws(rng))
    return _held(honest_best(rho[1:] - rho[0], samples[1:] - samples[0]).interval, 0.0)


def corrected(statistic: Statistic, r: float, share: float, n: int, rng: Generator) -> float | None:
    """A pair of correlation ``r`` behind noise that leaves ``share`` of each column's variance."""
    if n < (NOISELESS_FROM if statistic == "spearman" else CORRECTED_FROM):
        return None
    error = np.full(n, np.sqrt(1 / share - 1))
    values = _normal(rng, n, r) + rng.standard_normal((n, 2)) * error[:, None]
    drawn = _draws(rng)
    a, b = (bootstrap_reliability(column, error, drawn) for column in values.T)
    if not min(reliability(column, error) for column in values.T) > 0:
        return None
    if statistic == "spearman":
        freed = noiseless_spearman(bootstrap_spearman(values, PAIR, drawn)[0], np.sqrt(a * b))
        return _held(interval_from(NOISELESS_FROM, np.nan, freed, n, drawn), _of_ranks(r))
    with np.errstate(divide="ignore", invalid="ignore"):
        freed = bootstrap_pearson(values, PAIR, drawn)[0] / np.sqrt(a * b)
    return _held(interval_from(CORRECTED_FROM, np.nan, freed, n, drawn), r)


def line(name: str, part: str, n: int, rng: Generator) -> float | None:
    """The slope 0.5 or the intercept 1 of a line, noise in y or in both."""
    true_x = rng.standard_normal(n)
    y = 1 + 0.5 * true_x + 0.3 * rng.standard_normal(n)
    found = ols(true_x, y).line if name == "ols" else deming(true_x + 0.3 * rng.standard_normal(n), y, 1.0, _draws(rng))
    return _held(found.slope_interval, 0.5) if part == "slope" else _held(found.intercept_interval, 1.0)


def share(n: int, rng: Generator) -> float:
    """The true share of values up to a point of the printed curve, a third up; the values are uniform."""
    found = distribution(rng.random(n), n)
    at = len(found.at) // 3
    return float(found.low[at] <= found.at[at] <= found.high[at])


def error(share: float, images: int, rng: Generator) -> float:
    """An error rate of ``share``."""
    low, high = clopper_pearson(np.array([float(rng.binomial(images, share))]), np.array([float(images)]))
    return float(low[0] <= share <= high[0])


def ranks(n: int, gap: float, rng: Generator) -> float:
    """Whether all true ranks are within; nets that are equal may have any rank among them."""
    errors = rng.uniform(0.5, 1.5, n)
    low, high = rank_intervals(gap * np.arange(n) + errors * rng.standard_normal(n), errors)
    first, last = (np.ones(n), np.full(n, n)) if gap == 0 else (np.arange(n) + 1, np.arange(n) + 1)
    return float(((low <= first) & (last <= high)).all())


def regret(gap: float, n: int, rng: Generator) -> float:
    """Whether the regret is within its bound: nets ``gap`` standard errors apart, the choice on a noisier measurement.

    ``gap`` infinity: one net is better by far than all others, which are equal.
    """
    truth, errors = gap * np.arange(n) if np.isfinite(gap) else 100.0 * (np.arange(n) > 0), np.ones(n)
    x, y = truth + 3 * rng.standard_normal(n), truth + rng.standard_normal(n)
    if not np.isfinite(gap):
        x = np.roll(x, 1)  # not the best one is chosen
    return float(truth[x.argmin()] - truth.min() <= regret_at_most(x, y, errors))


def other_ranking(knowing: bool, n: int, gap: float, rng: Generator) -> float:
    """Whether p < 0.05 where a tenth of the nets (3 of 10) lie elsewhere; ``knowing``: by a test that has the truth."""
    truth, errors = gap * n / np.sqrt(12) * np.sort(rng.standard_normal(n)), np.ones(n)
    moved = rng.choice(n, max(3, n // 10), replace=False)
    other = truth.copy()
    other[moved] = rng.permutation(other[moved])
    x, y = truth + rng.standard_normal(n), other + rng.standard_normal(n)
    if not knowing:
        return float(same_ranking(x, y, errors, errors, int(rng.integers(2**31))).p < 0.05)
    null = inversions(*(truth + rng.standard_normal((2, RESAMPLES, n))))
    return float((null >= inversions(x[None], y[None])).mean() < 0.05)


def equal_rankings(name: str, n: int, gap: float, rng: Generator) -> float:
    """Two measurements of one ranking."""
    truth, errors = gap * np.arange(n), np.ones(n)
    x, y = truth + rng.standard_normal(n), truth + rng.standard_normal(n)
    if name in ("beyond noise", "any confirmed"):
        noise = Noise(errors, *np.full((2, n), np.nan))
        found = flips(x, y, noise, noise)
        return found.beyond_noise if name == "beyond noise" else float(found.confirmed > 0)
    same = same_ranking(x, y, errors, errors, int(rng.integers(2**31)))
    return same.beyond_noise if name == "by chance" else float(same.p < 0.05)


def component(source: str, datasets: int, n: int, rng: Generator) -> float | None:
    """Whether the share of variance of ``source`` is held: datasets 4 apart, nets 2, nets on a dataset 1, noise 1."""
    hardness = np.linspace(-1, 1, datasets)
    hardness = 4 * hardness / hardness.std(ddof=1)
    values = hardness + 2 * rng.standard_normal((n, 1)) + rng.standard_normal((n, datasets)) * np.sqrt(2)
    noise, drawn = np.ones((n, datasets)), _draws(rng)
    found, samples = split(values, noise), bootstrap_split(values, noise, drawn)
    share, of_samples = (getattr(v, source) / np.sum(v, axis=0) for v in (found, samples))
    truth = {"datasets": 16.0, "nets": 4.0, "particular": 1.0, "noise": 1.0}[source] / 22
    return _held(share_interval(float(share[0]), of_samples, n, drawn), truth)


def friedman(what: str, datasets: int, n: int, rng: Generator) -> float:
    """Nets that do not differ: whether Friedman's test refuses it, or any two mean ranks are critically apart."""
    found = concordance(rng.standard_normal((n, datasets)))
    apart = np.ptp(found.mean_ranks) > found.critical_difference
    return float(found.p < 0.05 if what == "p < 0.05" else apart)


def band(what: str, n: int, rng: Generator) -> float:
    """Nets on a probit line: the share outside their bands, or whether any is confirmed to be off."""
    x = rng.standard_normal(n)
    y = 0.8 * x + 0.3 * rng.standard_normal(n)
    found = left_out(x, y)
    if what == "any confirmed":
        return float(discoveries(found.p, n) > 0)
    return float(((found.low <= y) & (y <= found.high)).mean())


@cache
def _with_the_rest(r: float, columns: int) -> float:
    """Spearman's rho of one of so many normal columns, any two of correlation ``r``, with the others' mean rank."""
    rng = np.random.default_rng(1)
    values = np.sqrt(r) * rng.standard_normal((200_000, 1)) + np.sqrt(1 - r) * rng.standard_normal((200_000, columns))
    return float(correlations(_and_the_rest(values), PAIR).spearman[0])


def _and_the_rest(values: Floats) -> Floats:
    ranks = np.stack([midranks(column) for column in values[:, 1:].T])
    return np.stack([values[:, 0], ranks.mean(axis=0)], axis=1)


def with_the_rest(r: float, n: int, rng: Generator) -> float | None:
    """One of five datasets, each two of correlation ``r``, against the mean rank on the other four."""
    values = np.sqrt(r) * rng.standard_normal((n, 1)) + np.sqrt(1 - r) * rng.standard_normal((n, 5))
    pair, drawn = _and_the_rest(values), _draws(rng)
    samples = bootstrap_spearman(pair, PAIR, drawn)[0] if n >= BOOTSTRAP_FROM["spearman"] else np.empty(0)
    estimate = float(correlations(pair, PAIR).spearman[0])
    return _held(pair_interval("spearman", pair[:, 0], pair[:, 1], estimate, samples, drawn), _with_the_rest(r, 5))
