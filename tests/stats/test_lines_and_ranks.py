"""Fits, intervals, rankings under noise, reliability and distributions, against statsmodels, SciPy and brute force."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from toolkit.stats.distribution import distribution
from toolkit.stats.fits import deming, ols
from toolkit.stats.intervals import clopper_pearson
from toolkit.stats.ranking import (
    Noise,
    flips,
    rank_intervals,
    regret,
    regret_at_most,
    same_ranking,
    top_overlap,
)
from toolkit.stats.reliability import bootstrap_reliability, reliability
from toolkit.stats.resampling import Draws, percentile_interval
from toolkit.stats.scales import logit, probit


def test_ols_equals_statsmodels():
    from statsmodels.regression.linear_model import OLS

    rng = np.random.default_rng(0)
    x = rng.normal(60, 8, 25)
    y = 0.7 * x + rng.normal(0, 3, 25)
    expected = OLS(y, np.column_stack([np.ones(25), x])).fit()
    found = ols(x, y)
    (intercept, slope), bounds = expected.params, expected.conf_int()
    np.testing.assert_allclose([found.line.intercept, found.line.slope], [intercept, slope])
    np.testing.assert_allclose([found.line.intercept_interval, found.line.slope_interval], bounds)
    np.testing.assert_allclose([found.r2, found.adjusted_r2], [expected.rsquared, expected.rsquared_adj])
    assert found.residual_sd == pytest.approx(np.sqrt(expected.mse_resid))


def test_deming_finds_the_slope_that_noise_in_x_hides():
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 2, 2000)
    x, y = truth + rng.normal(0, 1, 2000), 1.5 * truth + 1 + rng.normal(0, 2, 2000)
    line = deming(x, y, noise_ratio=4, draws=Draws(300, 0))
    assert line.slope == pytest.approx(1.5, abs=0.06)
    assert line.slope_interval.low < 1.5 < line.slope_interval.high
    assert ols(x, y).line.slope < 1.3
    turned = deming(y, x, noise_ratio=1 / 4, draws=Draws(300, 0))
    assert turned.slope == pytest.approx(1 / line.slope)


@settings(max_examples=50)
@given(st.integers(1, 400), st.floats(0, 1))
def test_clopper_pearson_equals_scipys(images, share):
    wrong = round(images * share)
    expected = scipy_stats.binomtest(wrong, images).proportion_ci(method="exact")
    low, high = clopper_pearson(np.array([float(wrong)]), np.array([float(images)]))
    np.testing.assert_allclose([low[0], high[0]], [expected.low, expected.high], atol=1e-9)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=15))
def test_flips_equal_a_count_by_hand(rows):
    x, y = np.array(rows, float).T
    opposite = [(i, j) for i, j in combinations(range(len(x)), 2) if (x[i] - x[j]) * (y[i] - y[j]) < 0]
    far = [(i, j) for i, j in opposite if min(abs(x[i] - x[j]), abs(y[i] - y[j])) > 1.959964 * np.sqrt(2)]
    noise = Noise(np.ones(len(x)), *np.full((2, len(x)), np.nan))
    found = flips(x, y, noise, noise)
    assert (found.inverted, found.beyond_noise) == (len(opposite), len(far))
    assert flips(x, y, noise._replace(errors=np.full(len(x), np.nan)), noise).beyond_noise == -1


def test_flips_by_noise_alone_are_believed_and_others_are_not():
    rng = np.random.default_rng(3)
    truth, errors = np.linspace(20, 30, 40), np.full(40, 0.5)
    chance = [
        same_ranking(rng.normal(truth, errors), rng.normal(2 * truth, errors), errors, errors, seed).p
        for seed in range(20)
    ]
    assert np.mean(np.array(chance) < 0.05) <= 0.2
    assert same_ranking(truth, rng.permutation(truth), errors, errors, 0).p < 0.01


def test_rank_intervals_are_narrow_without_noise_and_wide_with_it():
    values = np.array([3.0, 1.0, 2.0, 9.0])
    low, high = rank_intervals(values, np.full(4, 1e-9))
    assert low.tolist() == high.tolist() == [3, 1, 2, 4]
    low, high = rank_intervals(values, np.full(4, 1.0))
    assert low.tolist() == [1, 1, 1, 4] and high.tolist() == [3, 3, 3, 4]


def test_overlap_and_regret():
    x, y = np.array([1.0, 2, 3, 4]), np.array([5.0, 4, 9, 1])
    assert top_overlap(x, y, 2) == 0.5
    assert regret(x, y) == 4 and regret(y, x) == 3 and regret(x, x) == 0
    assert regret_at_most(x, y, np.full(4, 0.1)) == pytest.approx(4 + 1.645 * 0.1 * 2**0.5, abs=1e-3)
    assert np.isnan(regret_at_most(x, y, np.full(4, np.nan)))


def test_reliability_is_what_noise_leaves():
    rng = np.random.default_rng(5)
    truth = rng.normal(0, 2, 4000)
    assert reliability(truth + rng.normal(0, 1, 4000), np.ones(4000)) == pytest.approx(0.8, abs=0.02)
    assert reliability(rng.normal(0, 1, 50), np.full(50, 9.0)) == 0
    assert np.isnan(reliability(np.ones(5), np.ones(5)))
    low, high = percentile_interval(bootstrap_reliability(truth[:200], np.ones(200), Draws(300, 0)))
    assert low < reliability(truth[:200], np.ones(200)) < high


def test_distribution_is_a_distribution_with_a_band_about_it():
    values = np.random.default_rng(6).normal(size=200)
    found = distribution(values, 21)
    expected = scipy_stats.ecdf(values).cdf.evaluate(found.at)
    np.testing.assert_allclose(found.share, expected)
    assert (found.low <= found.share).all() and (found.share <= found.high).all() and found.share[-1] == 1


def test_scales_are_finite_at_the_ends():
    share = np.array([0.0, 0.1, 0.5, 1.0])
    np.testing.assert_allclose(logit(share)[1:3], [np.log(1 / 9), 0])
    np.testing.assert_allclose(probit(share)[1:3], scipy_stats.norm.ppf([0.1, 0.5]), atol=1e-12)
    assert np.isfinite(logit(share)).all() and logit(share)[0] < logit(share)[1]
    assert np.isnan(logit(np.array([0.0, 1.0]))).all()
