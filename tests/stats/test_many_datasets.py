"""Statistics of many datasets at once, against other packages and against counting by hand."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from toolkit.stats.concordance import concordance, mean_rank_bounds
from toolkit.stats.correlation import PERMUTATIONS
from toolkit.stats.fits import left_out
from toolkit.stats.grouping import groups
from toolkit.stats.ranking import regret
from toolkit.stats.reliability import noiseless_spearman, spearman_ceiling
from toolkit.stats.resampling import Draws, blocks
from toolkit.stats.top import rank_biased_overlap, regret_of_best, weighted_tau
from toolkit.stats.variance import bootstrap_split, split

ALL_OF_4 = list(permutations([1.0, 2.0, 3.0, 4.0]))
few = st.integers(0, 4)
rankings = st.lists(st.tuples(few, few), min_size=4, max_size=6)


@settings(max_examples=30)
@given(st.lists(st.tuples(few, few, few), min_size=3, max_size=9))
def test_w_is_friedmans_statistic_of_what_it_could_be(rows):
    values = np.array(rows, float)
    found = concordance(values)
    if np.isnan(found.w):
        assert (np.ptp(values, axis=0) == 0).all()
        return
    statistic = scipy_stats.friedmanchisquare(*values).statistic
    assert found.w == pytest.approx(statistic / (3 * (len(values) - 1)))
    low, high = mean_rank_bounds(found)
    assert (low <= high).all() and (low >= 1).all() and (high <= len(values)).all()


def test_the_critical_difference_is_demsars():
    """Four classifiers on fourteen datasets: 1.25 (Demsar 2006, section 3.2.4)."""
    assert concordance(np.random.default_rng(0).random((4, 14))).critical_difference == pytest.approx(1.25, abs=0.005)
    same = concordance(np.tile(np.arange(6.0)[:, None], 5))
    assert same.w == 1 and same.p == 1 / (1 + PERMUTATIONS)


def test_the_p_of_few_nets_is_that_of_all_their_orders():
    values = np.array([[1, 1, 2], [2, 3, 1], [3, 2, 3], [4, 4, 4.0]])
    orders = [values[:, 0] + np.add(second, third) for second, third in product(ALL_OF_4, repeat=2)]
    at_least = np.var(orders, axis=1) >= values.sum(axis=1).var() - 1e-9
    assert concordance(values).p == pytest.approx(at_least.mean(), abs=0.005)


def test_components_are_means_of_covariances_and_resamples_are_rows_repeated():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((12, 4)) + 2 * rng.standard_normal((12, 1)) + np.arange(4)
    noise = np.full(values.shape, 0.2)
    covariance = np.cov(values.T)
    shared = covariance[~np.eye(4, dtype=bool)].mean()
    found = split(values, noise)
    assert found.nets[0] == pytest.approx(shared) and found.noise[0] == pytest.approx(0.2)
    assert found.particular[0] == pytest.approx(np.diag(covariance).mean() - shared - 0.2)
    (weights,) = blocks(12, Draws(5, 1))
    resampled = bootstrap_split(values, noise, Draws(5, 1))
    for i, weight in enumerate(weights):
        again = split(np.repeat(values, weight, axis=0), np.repeat(noise, weight, axis=0))
        np.testing.assert_allclose([v[i] for v in resampled], [v[0] for v in again], atol=1e-9)


def test_a_value_is_predicted_by_the_line_of_the_others():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 9))
    found = left_out(x, y)
    for i in range(9):
        rest = np.arange(9) != i
        fit = np.polyfit(x[rest], y[rest], 1)
        residual = y[rest] - np.polyval(fit, x[rest])
        spread = ((x[rest] - x[rest].mean()) ** 2).sum()
        width = 1 + 1 / 8 + (x[i] - x[rest].mean()) ** 2 / spread
        half = scipy_stats.t.ppf(0.975, 6) * np.sqrt(residual @ residual / 6 * width)
        expected = np.polyval(fit, x[i])
        np.testing.assert_allclose(
            [found.expected[i], found.low[i], found.high[i]], [expected, expected - half, expected + half], rtol=1e-9
        )
        assert (found.p[i] < 0.05) == (abs(y[i] - expected) > half)


@settings(max_examples=40)
@given(rankings, st.integers(1, 4))
def test_the_best_of_the_k_best_lose_what_they_lose_in_the_mean_over_ties(rows, k):
    x, y = np.array(rows, float).T
    ways = [y[sorted(range(len(x)), key=lambda i: (x[i], order[i]))[:k]].min() for order in permutations(range(len(x)))]
    assert regret_of_best(x, y, k) == pytest.approx(np.mean(ways) - y.min())
    assert regret_of_best(x, y, 1) == pytest.approx(regret(x, y)) and regret_of_best(x, y, len(x)) == 0


@settings(max_examples=40)
@given(st.permutations(range(8)))
def test_overlap_and_weighted_tau_look_at_the_head_first(order):
    x, y = np.arange(8.0), np.array(order, float)
    shared = [len(set(np.argsort(x)[:d]) & set(np.argsort(y)[:d])) / d for d in range(1, 9)]
    expected = 0.9**8 + 0.1 / 0.9 * sum(share * 0.9**d for d, share in enumerate(shared, 1))
    assert rank_biased_overlap(x, y) == pytest.approx(expected) == pytest.approx(rank_biased_overlap(y, x))
    assert rank_biased_overlap(x, x) == pytest.approx(1) and weighted_tau(x, x) == pytest.approx(1)
    head, tail = x[[1, 0, 2, 3, 4, 5, 6, 7]], x[[0, 1, 2, 3, 4, 5, 7, 6]]
    assert rank_biased_overlap(x, head) < rank_biased_overlap(x, tail)
    assert weighted_tau(x, head) < weighted_tau(x, tail)


def test_noise_taken_off_and_put_on_again_is_rho():
    rho = np.array([-0.9, 0.0, 0.3, 0.8])
    np.testing.assert_allclose(noiseless_spearman(rho, 1.0), rho)
    freed = noiseless_spearman(rho, 0.9)
    assert (np.abs(freed) >= np.abs(rho)).all() and np.abs(freed).max() <= 1
    np.testing.assert_allclose(spearman_ceiling(2 * np.sin(np.pi / 6 * freed[1:3]) * 0.9), rho[1:3])
    assert np.isnan(noiseless_spearman(rho, 0.0)).all()


def test_alike_columns_are_one_group_whatever_their_order():
    rho = np.full((5, 5), 0.1)
    for i, j in ((0, 3), (1, 4)):
        rho[i, j] = rho[j, i] = 0.95
    rho[2, :] = rho[:, 2] = np.nan
    np.fill_diagonal(rho, 1)
    label, order = groups(rho, 0.9)
    assert label.tolist() == [1, 2, 3, 1, 2] and sorted(order) == list(range(5))
    assert abs(order.tolist().index(0) - order.tolist().index(3)) == 1
