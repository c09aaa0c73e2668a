"""The compiled loops work where nothing can be kept on disk."""

import numpy as np
import pytest
from numba.core.caching import CacheImpl

from toolkit.stats.kernels import compiled, count_inversions


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
