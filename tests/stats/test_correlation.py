"""Correlations, their bootstrap and their p values against SciPy, and the laws they obey."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from toolkit.stats.correlation import (
    bootstrap_correlations,
    bootstrap_pearson,
    bootstrap_spearman,
    correlations,
    holm,
    midranks,
    p_values,
    sparse_kendall,
)
from toolkit.stats.resampling import Draws, blocks, percentile_interval

PAIRS = np.array([[0, 1], [0, 2], [2, 1]])
SCIPY = {
    "spearman": scipy_stats.spearmanr,
    "kendall": scipy_stats.kendalltau,
    "pearson": scipy_stats.pearsonr,
}


def sample(seed: int, n: int, levels: int | None) -> np.ndarray:
    """(n, 3) correlated values; with ``levels``, so coarse that most are tied."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n, 3)) + rng.standard_normal((n, 1))
    return values if levels is None else np.round(values * levels / 4)


@pytest.mark.parametrize("statistic", SCIPY)
@pytest.mark.parametrize("levels", [None, 3, 8])
@pytest.mark.parametrize("n", [4, 5, 29, 200])
def test_estimates_equal_scipys(statistic, levels, n):
    values = sample(n, n, levels)
    found = getattr(correlations(values, PAIRS), statistic)
    expected = [SCIPY[statistic](values[:, a], values[:, b])[0] for a, b in PAIRS]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("statistic", SCIPY)
@pytest.mark.parametrize("levels", [None, 4])
def test_resamples_equal_scipy_on_the_drawn_rows(statistic, levels):
    values = sample(3, 40, levels)
    found = getattr(bootstrap_correlations(values, PAIRS, Draws(20, 5)), statistic)
    (weights,) = blocks(40, Draws(20, 5))
    for b, drawn in enumerate(weights):
        rows = np.repeat(np.arange(40), drawn)
        expected = [SCIPY[statistic](values[rows, i], values[rows, j])[0] for i, j in PAIRS]
        np.testing.assert_allclose(found[:, b], expected, atol=1e-12)


@pytest.mark.parametrize("statistic", SCIPY)
@pytest.mark.parametrize("levels", [None, 6])
def test_p_of_many_rows_equals_scipys(statistic, levels):
    values = sample(11, 90, levels)
    values[:, 1] -= 0.8 * values[:, 0]
    estimates, expected = np.array([SCIPY[statistic](values[:, i], values[:, j]) for i, j in PAIRS]).T
    np.testing.assert_allclose(p_values(statistic, values, PAIRS, estimates), expected, rtol=1e-6)


@pytest.mark.parametrize("statistic", SCIPY)
def test_p_of_few_rows_is_a_permutation_p(statistic):
    values = sample(2, 6, 4)
    estimates = np.array([SCIPY[statistic](values[:, i], values[:, j])[0] for i, j in PAIRS])
    exact = []
    for (i, j), estimate in zip(PAIRS[:2], estimates, strict=False):
        of_all_orders = scipy_stats.permutation_test(
            (values[:, i],), lambda x, j=j: SCIPY[statistic](x, values[:, j])[0], permutation_type="pairings"
        ).null_distribution
        assert len(of_all_orders) == 720
        exact.append(np.mean(np.abs(of_all_orders) >= abs(estimate) - 1e-9))
    np.testing.assert_allclose(p_values(statistic, values, PAIRS, estimates)[:2], exact, atol=0.02)


finite = st.floats(-1e3, 1e3, width=32)


@settings(max_examples=40)
@given(st.lists(st.tuples(finite, finite, finite), min_size=4, max_size=25))
def test_monotone_maps_leave_rank_statistics_alone(rows):
    values = np.round(np.array(rows), 3)
    mapped = np.stack([np.exp(values[:, 0] / 300), values[:, 1] * 2 + 3, np.arctan(values[:, 2] / 100)], axis=1)
    before, after = correlations(values, PAIRS), correlations(mapped, PAIRS)
    np.testing.assert_allclose(after.spearman, before.spearman, atol=1e-12)
    np.testing.assert_allclose(after.kendall, before.kendall, atol=1e-12)


@settings(max_examples=40)
@given(st.lists(st.tuples(finite, finite, finite), min_size=4, max_size=25))
def test_turning_one_column_round_turns_signs_and_both_nothing(rows):
    values = np.round(np.array(rows), 3)
    before = correlations(values, PAIRS)
    both, one = correlations(-values, PAIRS), correlations(values * [-1, 1, 1], PAIRS)
    for old, same, turned in zip(before, both, one, strict=True):
        np.testing.assert_allclose(same, old, atol=1e-9)
        np.testing.assert_allclose(turned, old * [-1, -1, 1], atol=1e-9)


def test_same_draws_whether_all_statistics_are_asked_or_one():
    values = sample(1, 30, 5)
    found = bootstrap_correlations(values, PAIRS, Draws(300, 2))
    np.testing.assert_array_equal(bootstrap_spearman(values, PAIRS, Draws(300, 2)), found.spearman)
    np.testing.assert_allclose(bootstrap_pearson(values, PAIRS, Draws(300, 2)), found.pearson, atol=1e-12)


def test_a_seed_gives_the_same_numbers_whatever_the_cores(monkeypatch):
    values = sample(1, 30, None)
    before = bootstrap_correlations(values, PAIRS, Draws(600, 2))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    np.testing.assert_array_equal(np.stack(before), np.stack(bootstrap_correlations(values, PAIRS, Draws(600, 2))))


@pytest.mark.parametrize("values", [np.ones((10, 3)), np.zeros((3, 3)), np.empty((0, 3))])
def test_what_has_no_correlation_is_nan(values):
    assert np.isnan(np.stack(correlations(values, PAIRS))).all()
    samples = bootstrap_correlations(values, PAIRS, Draws(100, 0)) if len(values) else None
    assert samples is None or np.isnan(percentile_interval(samples.spearman[0])).all()


def test_midranks_equal_scipys():
    values = np.array([3.0, 1, 3, 2, 2, 2, 9])
    np.testing.assert_array_equal(midranks(values), scipy_stats.rankdata(values))


def test_sparse_tau_ties_pairs_within_noise_wherever_they_lie():
    values = np.array([[10.0, 5.02], [11, 5.01], [12, 7.0], [13, 8.0], [14, 9.0]])
    errors = np.full((5, 2), 0.1)
    assert correlations(values, PAIRS[:1]).kendall[0] == pytest.approx(0.8)
    expected = scipy_stats.kendalltau(values[:, 0], [5, 5, 7, 8, 9])[0]
    for shift in np.linspace(0, 1, 7):
        found = sparse_kendall(values + shift, errors, 1.96)
        assert found[0, 1] == found[1, 0] == pytest.approx(expected) and found[0, 0] == 1


@settings(max_examples=30)
@given(st.lists(st.tuples(*[st.one_of(st.integers(0, 9), st.just(np.nan))] * 3), min_size=4, max_size=12))
def test_sparse_tau_without_noise_is_tau_over_the_rows_of_both(rows):
    values = np.array(rows, float)
    found = sparse_kendall(values, np.zeros(values.shape), 1.96)
    for a, b in ((0, 1), (1, 2)):
        both = np.isfinite(values[:, [a, b]]).all(axis=1)
        expected = scipy_stats.kendalltau(*values[both][:, [a, b]].T)[0] if both.sum() > 1 else np.nan
        assert found[a, b] == pytest.approx(expected, nan_ok=True)


def test_holm_equals_a_worked_example_and_leaves_gaps():
    found = holm(np.array([0.01, np.nan, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, np.nan, 0.06, 0.06, 0.02])
