import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from toolkit.planning.goal import looks
from toolkit.stats.sequential import boundaries, interval_at, sequential_intervals, spearman_estimate


def sample(rng, n, r):
    return rng.multivariate_normal([0, 0], [[1, r], [r, 1]], n).T


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=4, max_size=60))
def test_rho_is_spearmans_with_ties(rows) -> None:
    x, y = np.array(rows, float).T
    found = spearman_estimate(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(found.rho)
        return
    expected = stats.spearmanr(x, y).statistic
    assert found.rho == pytest.approx(expected, abs=12 / (len(x) * (len(x) ** 2 - 1)) + 1e-9)
    assert 0 < found.z_error < np.inf
    low, high = interval_at(found, 1.96)
    assert -1 <= low < found.rho < high <= 1


@pytest.mark.slow
def test_the_standard_error_is_that_of_repeated_samples_where_values_are_tied_and_not_normal() -> None:
    rng = np.random.default_rng(1)

    def draw():
        x = rng.standard_normal(200)
        agree = rng.random(200) < 0.8  # the others are reversed: twice the spread that a normal pair would have
        return np.round(4 * x), np.exp(np.where(agree, x, -x))

    found = [spearman_estimate(*draw()) for _ in range(2000)]
    spread = np.std([np.arctanh(e.rho) for e in found])
    assert np.mean([e.z_error for e in found]) == pytest.approx(spread, rel=0.06)
    assert spread > 1.2 * np.sqrt((1 + np.mean([e.rho for e in found]) ** 2 / 2) / 197)


@pytest.mark.slow
def test_boundaries_spend_five_percent_over_all_looks() -> None:
    schedule = looks(500)
    edges = np.array(boundaries(schedule, 500))
    paths = np.random.default_rng(0).standard_normal((40_000, 500)).cumsum(axis=1)[:, np.array(schedule) - 1]
    leaves = np.abs(paths / np.sqrt(schedule)) > edges
    assert leaves.any(axis=1).mean() == pytest.approx(0.05, abs=0.004)
    assert leaves[:, :5].any(axis=1).mean() < 0.02
    assert boundaries((500,), 500) == pytest.approx((stats.norm.isf(0.025),), abs=1e-6)


@pytest.mark.slow
@settings(max_examples=30)
@given(st.sets(st.integers(1, 300), min_size=1, max_size=8).map(sorted))
def test_what_comes_later_changes_no_earlier_boundary(schedule) -> None:
    edges = boundaries(tuple(schedule), 300)
    assert edges[:-1] == boundaries(tuple(schedule[:-1]), 300) if len(schedule) > 1 else edges[0] > 1.9
    assert min(edges) > 1.9


@pytest.mark.parametrize("schedule", [(), (5, 5), (8, 4), (0, 4), (4, 301)])
def test_looks_that_do_not_rise_within_the_horizon_are_refused(schedule) -> None:
    with pytest.raises(ValueError, match="must rise"):
        boundaries(schedule, 300)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.95])
@pytest.mark.slow
def test_all_looks_together_hold_the_truth(rho: float) -> None:
    """The coverage of looking after every wave; ordinary intervals hold all looks in three of four studies only."""
    rng = np.random.default_rng(3)
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's rho of a normal pair
    schedule = looks(200)
    studies = [sample(rng, 200, rho) for _ in range(400)]
    hold = [all(i.low <= truth <= i.high for i in sequential_intervals(x, y, schedule, 200)) for x, y in studies]
    assert np.mean(hold) > 0.93
    plain = [[interval_at(spearman_estimate(x[:n], y[:n]), 1.96) for n in schedule] for x, y in studies[:200]]
    assert np.mean([all(i.low <= truth <= i.high for i in row) for row in plain]) < 0.9
