"""Dependent correlations: Steiger's test and the honest choice of the best."""

import numpy as np
import pytest

from toolkit.stats.correlation import bootstrap_spearman, correlations
from toolkit.stats.dependent import honest_best, steiger_p
from toolkit.stats.partial import partial_spearman
from toolkit.stats.resampling import Draws, percentile_interval


def three(rng: np.random.Generator, n: int, to_a: float, to_b: float, a_b: float) -> np.ndarray:
    """(n, 3) normal values: target, a, b with the given correlations."""
    return rng.multivariate_normal([0, 0, 0], [[1, to_a, to_b], [to_a, 1, a_b], [to_b, a_b, 1]], size=n)


def test_steiger_is_uniform_when_the_two_are_equal():
    rng = np.random.default_rng(0)
    p = []
    for _ in range(1500):
        r = np.corrcoef(three(rng, 80, 0.5, 0.5, 0.6).T)
        p.append(steiger_p(r[0, 1], r[0, 2], r[1, 2], 80))
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.02)
    assert np.mean(p) == pytest.approx(0.5, abs=0.03)


def test_steiger_is_symmetric_and_sure_of_a_large_difference():
    assert steiger_p(0.8, 0.2, 0.3, 200) == pytest.approx(steiger_p(0.2, 0.8, 0.3, 200))
    assert steiger_p(0.8, 0.2, 0.3, 200) < 1e-10
    assert steiger_p(0.4, 0.4, 0.3, 200) == 1
    assert np.isnan(steiger_p(1.0, 0.4, 0.3, 200)) and np.isnan(steiger_p(0.5, 0.4, 0.3, 3))


def test_choosing_the_best_of_equals_is_not_rewarded():
    """Six candidates that are all as good as the reference: the naive gain is positive, the honest one is not."""
    rng = np.random.default_rng(1)
    naive, honest, covered = [], [], 0
    pairs = np.array([(0, j) for j in range(1, 8)])
    for study in range(60):
        shared = rng.standard_normal((60, 1))
        values = np.concatenate([shared, shared + rng.standard_normal((60, 7))], axis=1)
        rho = correlations(values, pairs).spearman
        samples = bootstrap_spearman(values, pairs, Draws(250, study))
        choice = honest_best(rho[1:] - rho[0], samples[1:] - samples[0])
        naive.append((rho[1:] - rho[0]).max())
        honest.append(choice.estimate)
        covered += choice.interval.low <= 0 <= choice.interval.high
    assert np.mean(naive) > 0.05
    assert abs(np.mean(honest)) < 0.04
    assert covered >= 52


def test_a_clear_winner_keeps_its_gain():
    samples = np.random.default_rng(2).normal([[0.1], [0.5]], 0.02, size=(2, 1000))
    choice = honest_best(np.array([0.1, 0.5]), samples)
    assert choice.best == 1 and choice.shares[1] == 1
    assert choice.estimate == pytest.approx(0.5, abs=0.005)
    assert choice.interval.low == pytest.approx(0.46, abs=0.01)


def test_partial_correlation_equals_the_one_of_residuals():
    rng = np.random.default_rng(3)
    size = rng.standard_normal((300, 1))
    values = np.concatenate([size + rng.standard_normal((300, 2)), size, rng.standard_normal((300, 1))], axis=1)
    estimate, samples = partial_spearman(values, Draws(300, 0))
    ranks = values.argsort(axis=0).argsort(axis=0).astype(float)
    design = np.column_stack([np.ones(300), ranks[:, 2:]])
    residual = ranks[:, :2] - design @ np.linalg.lstsq(design, ranks[:, :2], rcond=None)[0]
    assert estimate == pytest.approx(np.corrcoef(residual.T)[0, 1])
    low, high = percentile_interval(samples)
    assert low < estimate < high and low < 0.1


def test_partial_correlation_given_a_copy_is_none():
    x = np.random.default_rng(4).standard_normal((50, 2))
    assert np.isnan(partial_spearman(np.column_stack([x, x[:, 0]]), Draws(100, 0))[0])
