"""The compiled loops work where nothing can be kept on disk."""

import numpy as np
import pytest
from numba.core.caching import CacheImpl
from scipy import stats

from toolkit.stats.correlation import dense_ranks
from toolkit.stats.kernels import BITS_UP_TO, compiled, count_inversions, rank_correlations, rows_below_and_tied


def double(values, out):
    for i in range(len(values)):
        out[i] = 2 * values[i]


@pytest.mark.parametrize("writable", [True, False])
def test_kernels_compile_with_and_without_a_place_for_the_cache(writable, monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    if not writable:
        monkeypatch.setattr(CacheImpl, "_locator_classes", [])  # as in a read-only image without a home
    out = np.empty(3)
    compiled(double)(np.arange(3.0), out)
    assert out.tolist() == [0, 2, 4]


def test_inversions_equal_a_count_by_hand():
    ranks = np.random.default_rng(0).permuted(np.tile(np.arange(12), (20, 1)), axis=1)
    counts = np.empty(20, np.int64)
    count_inversions(ranks, counts)
    expected = [sum(row[i] > row[j] for j in range(12) for i in range(j)) for row in ranks]
    assert counts.tolist() == expected


@pytest.mark.parametrize("n", [70, BITS_UP_TO + 1])
@pytest.mark.parametrize("levels", [5, 10_000])
def test_rows_drawn_many_times_count_as_often(n, levels):
    rng = np.random.default_rng(n)
    values = rng.integers(levels, size=(n, 2))
    weights = rng.integers(0, 70, size=(2, n)) * (rng.random((2, n)) < 0.2)
    group, order = dense_ranks(values).T.copy(), values.argsort(axis=0).T.copy()
    rho, tau = np.empty((1, 2)), np.empty((1, 2))
    rank_correlations(order, group, *rows_below_and_tied(group), np.array([[0, 1]]), weights, rho, tau)
    for b, drawn in enumerate(weights):
        x, y = np.repeat(values, drawn, axis=0).T
        assert rho[0, b] == pytest.approx(stats.spearmanr(x, y).statistic)
        assert tau[0, b] == pytest.approx(stats.kendalltau(x, y).statistic)
