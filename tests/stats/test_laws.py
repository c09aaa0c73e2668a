"""Laws that estimates and intervals obey, and values that another definition gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from scipy import stats as scipy_stats

from toolkit.stats.concordance import concordance, mean_rank_bounds
from toolkit.stats.correlation import holm, midranks, normal_p, p_values, t_p
from toolkit.stats.dependent import honest_best, steiger_p
from toolkit.stats.distribution import distribution
from toolkit.stats.fits import deming, left_out, ols
from toolkit.stats.grouping import groups
from toolkit.stats.intervals import (
    BOOTSTRAP_FROM,
    INTERVAL_FROM,
    clopper_pearson,
    correlation_interval,
    family_interval,
    family_p,
    few_rows_interval,
    fisher_interval,
    interval_from,
    p_of,
    pair_interval,
    share_interval,
    spread_interval,
)
from toolkit.stats.ranking import (
    Noise,
    Z,
    discoveries,
    flips,
    inversions,
    rank_intervals,
    regret_at_most,
    same_ranking,
    top_overlap,
)
from toolkit.stats.reliability import bootstrap_reliability, noiseless_spearman, reliability, spearman_ceiling
from toolkit.stats.resampling import NO_INTERVAL, Draws, blocks, percentile_interval
from toolkit.stats.scales import logit, probit, pull_in
from toolkit.stats.sequential import Estimate, interval_at, spearman_estimate, spent
from toolkit.stats.top import rank_biased_overlap, regret_of_best
from toolkit.stats.variance import bootstrap_split, split

values = st.lists(st.integers(0, 50), min_size=5, max_size=20)
pairs = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=5, max_size=20)
few = settings(max_examples=30)
RNG = np.random.default_rng(0)
ONES = Draws(50, 1)


def is_none(interval: tuple[float, float]) -> bool:
    return bool(np.isnan(interval).all())


@given(values)
@few
def test_midranks_are_scipys_and_pull_in_moves_only_the_ends(drawn):
    x = np.array(drawn, float)
    np.testing.assert_allclose(midranks(x), scipy_stats.rankdata(x))
    share = x / 50
    inside = (share > 0) & (share < 1)
    found = pull_in(share)
    if not inside.any():
        assert np.isnan(found).all()
        return
    margin = min(share[inside].min(), 1 - share[inside].max()) / 2
    np.testing.assert_array_equal(found[inside], share[inside])
    assert (found[share == 0] == margin).all() and (found[share == 1] == 1 - margin).all()
    np.testing.assert_allclose(special.expit(logit(share)), found)
    np.testing.assert_allclose(special.ndtr(probit(share)), found)


@given(pairs)
@few
def test_a_line_through_all_points_but_one_foretells_that_one(drawn):
    x, y = np.array(drawn, float).T
    x = x + np.arange(len(x)) * 0.01
    found = left_out(x, y)
    for i in range(len(x)):
        others = np.arange(len(x)) != i
        line = ols(x[others], y[others])
        expected = line.line.intercept + line.line.slope * x[i]
        assert found.expected[i] == pytest.approx(expected, rel=1e-6, abs=1e-6)
        centred = x[others] - x[others].mean()
        lever = 1 + 1 / others.sum() + (x[i] - x[others].mean()) ** 2 / (centred @ centred)
        half = special.stdtrit(len(x) - 3, 0.975) * line.residual_sd * np.sqrt(lever)
        # a variance that is a difference has half its digits as a root
        rounding = 1e-5 + 5e-7 * np.sqrt(lever) * np.ptp(y)
        assert found.high[i] - expected == pytest.approx(half, abs=rounding)
        assert expected - found.low[i] == pytest.approx(half, abs=rounding)
        if half > 10 * rounding:
            t = (y[i] - expected) / half * special.stdtrit(len(x) - 3, 0.975)
            assert found.p[i] == pytest.approx(2 * special.stdtr(len(x) - 3, -abs(t)), abs=1e-5)


def test_a_line_is_the_one_of_the_textbook():
    x, y = np.array([1.0, 2, 3, 4]), np.array([2.0, 3, 5, 6])
    found, theirs = ols(x, y), scipy_stats.linregress(x, y)
    t = special.stdtrit(2, 0.975)
    assert found.line.slope == pytest.approx(1.4) and found.line.intercept == pytest.approx(0.5)
    assert found.line.slope_interval == pytest.approx((1.4 - t * theirs.stderr, 1.4 + t * theirs.stderr))
    half = t * theirs.intercept_stderr
    assert found.line.intercept_interval == pytest.approx((0.5 - half, 0.5 + half))
    assert (found.r2, found.adjusted_r2) == pytest.approx((0.98, 0.97)) and found.residual_sd == pytest.approx(0.1**0.5)
    exact = ols(x, 2 * x)
    assert is_none(exact.line.slope_interval) and is_none(exact.line.intercept_interval) and exact.r2 == 1
    assert np.isnan(ols(x, np.ones(4)).r2)


@given(st.floats(-3, 3).filter(lambda slope: abs(slope) > 0.05), st.floats(0.1, 10))
@few
def test_a_deming_line_turns_with_its_axes(slope, ratio):
    x = np.arange(12.0)
    y = slope * x + np.sin(7 * x)
    line, back = deming(x, y, ratio, Draws(5, 0)), deming(y, x, 1 / ratio, Draws(5, 0))
    assert line.slope * back.slope == pytest.approx(1)
    assert line.slope * x.mean() + line.intercept == pytest.approx(y.mean())
    assert is_none(line.slope_interval) and is_none(line.intercept_interval)  # of 12 rows


def test_a_deming_line_of_many_rows_has_intervals_about_it():
    x = np.linspace(0, 10, 60)
    line = deming(x, 2 * x + 1 + RNG.normal(0, 0.5, 60), 1.0, Draws(200, 0))
    for estimate, (low, high) in ((line.slope, line.slope_interval), (line.intercept, line.intercept_interval)):
        assert low < estimate < high
    families = np.repeat(np.arange(12), 5)
    found = ols(x, 2 * x + np.sin(9 * x), Draws(200, 0, families)).line
    assert found.slope_interval != ols(x, 2 * x + np.sin(9 * x)).line.slope_interval
    assert sum(found.slope_interval) / 2 == pytest.approx(found.slope)
    assert sum(found.intercept_interval) / 2 == pytest.approx(found.intercept)


@given(st.integers(1, 60), st.data())
@few
def test_exact_intervals_end_where_the_tails_are_equal(images, data):
    wrong = data.draw(st.integers(0, images))
    low, high = (float(v[0]) for v in clopper_pearson(np.array([float(wrong)]), np.array([float(images)])))
    assert low == 0 if wrong == 0 else scipy_stats.binom.sf(wrong - 1, images, low) == pytest.approx(0.025)
    assert high == 1 if wrong == images else scipy_stats.binom.cdf(wrong, images, high) == pytest.approx(0.025)


@pytest.mark.parametrize(("statistic", "n", "least"), [("spearman", 30, 9), ("kendall", 10, 10), ("pearson", 100, 4)])
def test_resamples_decide_from_where_they_hold(statistic, n, least):
    samples = RNG.uniform(0.2, 0.6, 200)
    half = special.ndtri(0.975) * samples.std(ddof=1)
    by_resamples = {
        "pearson": spread_interval(0.4, samples, n),
        "spearman": percentile_interval(samples),
        "kendall": (0.4 - half, 0.4 + half),
    }[statistic]
    drawn_in = np.sqrt((n - 3) / (n - 1)) * samples.std(ddof=1)
    below = {"pearson": fisher_interval("pearson", 0.4, n - 1), "spearman": few_rows_interval(0.4, drawn_in, n - 1)}
    assert BOOTSTRAP_FROM[statistic] == n and INTERVAL_FROM[statistic] == least
    assert correlation_interval(statistic, 0.4, samples, n, ONES) == pytest.approx(by_resamples)
    assert correlation_interval(statistic, 0.4, samples, n - 1, ONES) == below.get(statistic, NO_INTERVAL) or least == n
    assert not is_none(correlation_interval(statistic, 0.4, samples, least, ONES))
    assert is_none(correlation_interval(statistic, 0.4, samples, least - 1, ONES))
    assert correlation_interval(statistic, 1.0, samples, n, ONES) == pytest.approx(
        fisher_interval(statistic, 1.0, n), nan_ok=True
    )
    assert is_none(correlation_interval(statistic, 0.4, np.full(200, np.nan), n, ONES))
    assert -1 <= correlation_interval(statistic, 0.99, samples, n, ONES).high <= 1


def test_few_ranks_have_the_mean_of_two_variances():
    half = special.ndtri(0.975) * np.sqrt(((0.2 / (1 - 0.5**2)) ** 2 + (1 + 0.125) / 9) / 2)
    z = np.arctanh(0.5)
    expected = (np.tanh(z - half), np.tanh(z + half))
    assert few_rows_interval(0.5, 0.2, 12) == pytest.approx(expected)
    assert correlation_interval("spearman", 0.5, np.empty(0), 12, ONES, 0.2) == pytest.approx(expected)


@pytest.mark.parametrize("n", [9, 15, 29])
def test_the_error_of_few_ranks_is_nearly_that_of_the_jackknife(n):
    x, noise = RNG.standard_normal((2, n))
    y = x + noise
    rho = scipy_stats.spearmanr(x, y).statistic
    without = [scipy_stats.spearmanr(np.delete(x, i), np.delete(y, i)).statistic for i in range(n)]
    jackknife = np.sqrt((n - 1) * np.var(without))
    found = pair_interval("spearman", x, y, rho, np.empty(0), ONES)
    for error in (0.75 * jackknife, 1.25 * jackknife):
        low, high = few_rows_interval(rho, error, n)
        assert (low < found.low) == (error > jackknife) and (high > found.high) == (error > jackknife)


def test_fishers_errors_are_those_of_their_authors():
    z = np.arctanh(0.3)
    for statistic, n, error in (("kendall", 12, 0.437 / 8), ("pearson", 12, 1 / 9), ("spearman", 12, 1.045 / 9)):
        half = special.ndtri(0.975) * np.sqrt(error)
        assert fisher_interval(statistic, 0.3, n) == pytest.approx((np.tanh(z - half), np.tanh(z + half)))
    assert is_none(fisher_interval("kendall", 0.3, 4)) and not is_none(fisher_interval("kendall", 0.3, 5))
    assert is_none(fisher_interval("spearman", 0.3, 3)) and not is_none(fisher_interval("spearman", 0.3, 4))
    assert is_none(fisher_interval("pearson", 1.0, 30)) and is_none(fisher_interval("spearman", np.nan, 30))
    for statistic, most in (("spearman", 1 - 12 / 720), ("kendall", 1 - 4 / 72)):
        low, high = fisher_interval(statistic, 1.0, 9)
        assert high == 1 and low == pytest.approx(fisher_interval(statistic, most, 9)[0])
        assert fisher_interval(statistic, -1.0, 9) == pytest.approx((-1, -low))


def test_families_widen_by_their_number():
    samples = RNG.normal(0.4, 0.1, 400)
    for count in (9, 20):
        half = special.stdtrit(count - 2, 0.975) * np.sqrt(count / (count - 2)) * samples.std(ddof=1)
        assert family_interval(0.4, samples, count) == pytest.approx((0.4 - half, 0.4 + half))
        z = np.arctanh(samples).std(ddof=1) * np.sqrt(count / (count - 2))
        t = special.stdtrit(count - 2, 0.975)
        draws = Draws(400, 0, np.repeat(np.arange(count), 2))
        expected = np.tanh(np.arctanh(0.4) + np.array([-1, 1]) * t * z)
        assert correlation_interval("spearman", 0.4, samples, 2 * count, draws) == pytest.approx(expected)
        assert interval_from(10, 0.4, samples, 2 * count, draws) == family_interval(0.4, samples, count)
        p = 2 * special.stdtr(count - 2, -np.arctanh(0.4) / z)
        assert family_p(0.4, samples, count) == family_p(-0.4, samples, count) == pytest.approx(p)
        values, pair = np.zeros((2 * count, 2)), np.array([[0, 1]])
        found = p_of("spearman", values, pair, np.array([0.4]), samples[None], draws)
        assert found.tolist() == [family_p(0.4, samples, count)]
    assert is_none(family_interval(0.4, samples, 8)) and is_none(family_interval(0.4, np.full(9, 0.4), 9))
    gaps = np.where(np.arange(400) < 20, np.nan, samples)
    assert not is_none(family_interval(0.4, gaps, 9))
    gaps[20] = np.nan
    assert is_none(family_interval(0.4, gaps, 9)) and is_none(percentile_interval(gaps))
    assert interval_from(40, 0.4, samples, 40, ONES) == percentile_interval(samples)
    assert is_none(interval_from(40, 0.4, samples, 39, ONES))
    values, pair = np.stack([np.arange(40.0), np.arange(40.0) % 7], axis=1), np.array([[0, 1]])
    assert p_of("pearson", values, pair, np.array([0.2]), samples[None], ONES).tolist() == [t_p(0.2, 38)]


def test_a_share_stays_between_its_ends():
    samples = special.expit(RNG.normal(1, 0.3, 300))
    half = special.stdtrit(23, 0.975) * np.sqrt(25 / 23) * samples.std(ddof=1) / (0.7 * 0.3)
    expected = special.expit(special.logit(0.7) + np.array([-half, half]))
    assert share_interval(0.7, samples, 25, ONES) == pytest.approx(expected)
    families = Draws(300, 0, np.repeat(np.arange(10), 4))
    assert share_interval(0.7, samples, 40, families) != share_interval(0.7, samples, 40, ONES)
    assert not is_none(share_interval(0.7, samples, 20, ONES))
    assert all(is_none(share_interval(share, samples, n, ONES)) for share, n in ((0.7, 19), (0.0, 25), (1.0, 25)))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(0, 3))
@few
def test_discoveries_are_benjamini_and_hochbergs(p, more):
    tests = len(p) + more
    expected = (scipy_stats.false_discovery_control([*p, *[1.0] * more]) <= 0.05 + 1e-12).sum()
    assert abs(discoveries(np.array(p), tests) - expected) <= (np.array(p) == 1).sum()
    adjusted = holm(np.array(p))
    assert (adjusted >= np.array(p)).all() and adjusted.min() == pytest.approx(min(1, len(p) * min(p)))
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()


@given(pairs)
@settings(max_examples=10)
def test_flips_are_pairs_in_opposite_order(drawn):
    x, y = np.array(drawn, float).T
    unknown = Noise(*np.full((3, len(x)), np.nan))
    found = flips(x, y, unknown, unknown)
    opposite = sum((x[i] - x[j]) * (y[i] - y[j]) < 0 for i in range(len(x)) for j in range(i))
    assert found == (len(x) * (len(x) - 1) // 2, opposite, -1, -1)
    sure = Noise(np.full(len(x), 1e-9), unknown.wrong, unknown.images)
    assert flips(x, y, sure, sure)[1:] == (opposite, opposite, opposite)
    apart = x + np.linspace(0, 0.5, len(x)), y + np.linspace(0, 0.5, len(x))
    assert inversions(apart[0][None], apart[1][None])[0] == flips(*apart, unknown, unknown).inverted
    low, high = rank_intervals(x, np.full(len(x), 1e-9))
    np.testing.assert_array_equal(low, scipy_stats.rankdata(x, "min"))
    np.testing.assert_array_equal(high, scipy_stats.rankdata(x, "max"))


def test_a_flip_is_beyond_noise_on_both_or_not_at_all():
    def noise(error: float) -> Noise:
        return Noise(np.full(2, error), np.full(2, np.nan), np.full(2, np.nan))

    x, y = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    for error, beyond in ((1 / (1.95 * 2**0.5), 0), (1 / (1.97 * 2**0.5), 1)):
        assert flips(x, y, noise(error), noise(1e-9)).beyond_noise == beyond
        assert flips(x, y, noise(1e-9), noise(error)).beyond_noise == beyond
    none_wrong = Noise(np.array([0.0, 0.01]), np.array([0.0, 10.0]), np.array([1000.0, 1000.0]))
    p = scipy_stats.fisher_exact([[0, 1000], [10, 990]], "less").pvalue
    found = flips(np.array([0, 0.01]), y, none_wrong, noise(1e-9))
    assert found.beyond_noise == (p < 0.025) and found.confirmed == (p < 0.05)


def test_a_count_at_its_end_is_told_by_fishers_exact_test():
    """No image wrong, or all of them: standard errors say nothing there."""
    opposite = Noise(np.full(2, 1e-9), np.full(2, np.nan), np.full(2, np.nan))
    for wrong, images, side in (((0, 6), (1000, 800), "less"), ((1000, 794), (1000, 800), "greater")):
        for turn in (1, -1):
            counts, of = np.array(wrong, float)[::turn], np.array(images, float)[::turn]
            noise = Noise(np.full(2, 1e9), counts, of)
            p = scipy_stats.fisher_exact(
                [[wrong[0], images[0] - wrong[0]], [wrong[1], images[1] - wrong[1]]], side
            ).pvalue
            found = flips(counts / of, -counts / of, noise, opposite)
            assert found == (1, 1, int(p < 0.025), int(p < 0.05)) and p < 0.025


@given(values, st.integers(1, 5))
@few
def test_the_best_of_the_same_ranking_are_the_same(drawn, k):
    x = np.array(drawn) + np.arange(len(drawn)) * 0.01
    assert top_overlap(x, x, k) == pytest.approx(1) and rank_biased_overlap(x, x) == pytest.approx(1)
    assert regret_of_best(x, x, k) == pytest.approx(0)
    assert regret_of_best(x, -x, k) == pytest.approx(x.max() - np.sort(x)[k - 1])
    assert top_overlap(x, -x, len(x)) == 1
    tied = np.zeros(len(x))
    assert top_overlap(tied, x, k) == pytest.approx(k / len(x))
    assert regret_of_best(tied, x, len(x)) == pytest.approx(0)
    assert regret_of_best(tied, x, 1) == pytest.approx(x.mean() - x.min())


def test_a_regret_without_noise_has_no_bound():
    x, y = np.arange(4.0), np.array([2.0, 1, 3, 4])
    assert np.isnan([regret_at_most(x, y, np.zeros(4)), regret_at_most(x, y, np.full(4, np.nan))]).all()
    assert regret_at_most(x, y, np.full(4, 0.1)) == pytest.approx(1 + 1.644854 * 0.1 * 2**0.5, abs=1e-5)
    assert regret_at_most(y, y, np.full(4, 0.1)) == 0
    assert regret_at_most(y, y, np.full(4, 5.0)) == pytest.approx(-1 + 1.644854 * 5 * 2**0.5, abs=1e-5)


def test_flips_beyond_noise_are_expected_by_the_normal_tails():
    def flipped(d_x: float, d_y: float) -> float:
        tail = special.ndtr
        return tail(d_x - Z) * tail(-d_y - Z) + tail(-d_x - Z) * tail(d_y - Z)

    x, y, x_errors, y_errors = np.array([0.0, 3.0]), np.array([5.0, 9.0]), np.ones(2), np.full(2, 0.5)
    kept_x, kept_y = ((spread - noise) / spread for spread, noise in ((4.5, 1.0), (8.0, 0.25)))
    expected = flipped(3 * kept_x**0.5 / 2**0.5, 4 * kept_y**0.5 / 0.5**0.5)
    assert same_ranking(x, y, x_errors, y_errors, 0).beyond_noise == pytest.approx(expected)
    assert same_ranking(-x, y, x_errors, y_errors, 0).beyond_noise == pytest.approx(expected)
    near = np.arange(5.0) / 10
    assert same_ranking(near, near, np.ones(5), np.ones(5), 0).beyond_noise == pytest.approx(10 * flipped(0, 0))
    assert same_ranking(near, near, np.zeros(5), np.zeros(5), 0) == (1.0, 0.0)


def test_reliability_is_the_share_that_is_no_noise():
    x = RNG.normal(0, 2, 40)
    assert reliability(x, np.ones(40)) == pytest.approx(1 - 1 / x.var(ddof=1))
    assert reliability(x, np.zeros(40)) == 1 and reliability(x, np.full(40, 9.0)) == 0
    assert np.isnan(reliability(np.ones(5), np.ones(5)))
    (weights,) = blocks(40, Draws(9, 4))
    expected = [reliability(np.repeat(x, w), np.ones(40)) for w in weights]
    np.testing.assert_allclose(bootstrap_reliability(x, np.ones(40), Draws(9, 4)), expected)
    rho = np.array([-0.4, 0.0, 0.7])
    np.testing.assert_allclose(noiseless_spearman(rho, np.ones(3)), rho, atol=1e-12)
    np.testing.assert_allclose(noiseless_spearman(rho, np.full(3, 0.1)), [-1, 0, 1], atol=1e-12)
    assert np.isnan(noiseless_spearman(rho, np.zeros(3))).all()
    assert spearman_ceiling(np.array([1.0, 0.5]))[0] == pytest.approx(1)
    assert spearman_ceiling(np.array([0.5]))[0] == pytest.approx(6 / np.pi * np.arcsin(0.25))


def test_a_split_is_a_two_way_analysis_of_variance():
    table = RNG.normal(0, 1, (12, 1)) + RNG.normal(0, 3, (1, 4)) + RNG.normal(0, 0.5, (12, 4))
    noise = np.full((12, 4), 0.01)
    found = [float(v[0]) for v in split(table, noise)]
    covariance = np.cov(table.T)
    nets = covariance[np.triu_indices(4, 1)].mean()
    within = np.diag(covariance).mean()
    datasets = table.mean(axis=0).var(ddof=1) - (within - nets) / 12
    np.testing.assert_allclose(found, [datasets, nets, within - nets - 0.01, 0.01])
    (weights,) = blocks(12, Draws(6, 2))
    expected = [[float(v[0]) for v in split(np.repeat(table, w, axis=0), np.full((12, 4), 0.01))] for w in weights]
    np.testing.assert_allclose(np.stack(bootstrap_split(table, noise, Draws(6, 2))).T, expected, atol=1e-9)
    assert min(float(v[0]) for v in split(RNG.normal(0, 1, (5, 2)), np.full((5, 2), 99.0))) >= 0


def test_friedmans_test_and_the_mean_ranks():
    table = RNG.normal(0, 1, (10, 1)) + RNG.normal(0, 0.7, (10, 5))
    found = concordance(table)
    chi = scipy_stats.friedmanchisquare(*table).statistic
    assert found.w == pytest.approx(chi / (5 * 9))
    f = 4 * found.w / (1 - found.w)
    assert found.p == pytest.approx(scipy_stats.f.sf(f, 9, 36))
    np.testing.assert_allclose(found.mean_ranks, scipy_stats.rankdata(table, axis=0).mean(axis=1))
    q = scipy_stats.studentized_range.ppf(0.95, 10, np.inf) / 2**0.5
    assert found.critical_difference == pytest.approx(q * (10 * 11 / (6 * 5)) ** 0.5)
    same = concordance(np.arange(4.0)[:, None] + np.zeros((4, 30)))
    assert same.w == 1 and same.p == 1e-4 and np.isnan(concordance(np.ones((4, 3))).w)
    low, high = mean_rank_bounds(same._replace(critical_difference=1.5))
    assert (low.tolist(), high.tolist()) == ([1, 1, 2, 3], [2, 3, 4, 4])


def test_groups_are_numbered_by_their_first_column():
    rho = np.array([[1, 0.1, 0.9, 0], [0.1, 1, 0.1, 0.8], [0.9, 0.1, 1, 0], [0, 0.8, 0, 1]], float)
    labels, order = groups(rho, 0.8)
    assert labels.tolist() == [1, 2, 1, 2] and sorted(order) == [0, 1, 2, 3]
    assert {frozenset(order[:2].tolist()), frozenset(order[2:].tolist())} == {frozenset({0, 2}), frozenset({1, 3})}
    assert groups(rho, 0.81)[0].tolist() == [1, 2, 1, 3] and groups(rho, 0.95)[0].tolist() == [1, 2, 3, 4]
    assert groups(np.where(rho == 0.9, np.nan, rho), 0.8)[0].tolist() == [1, 2, 3, 2]


def test_a_distribution_counts_what_lies_at_or_below():
    x = np.array([3.0, 1, 2, 2, 9])
    found = distribution(x, 5)
    np.testing.assert_allclose(found.share, [(x <= at).mean() for at in found.at])
    assert found.at.tolist() == [1, 2, 3, 9] and found.share[-1] == 1
    np.testing.assert_allclose(np.stack([found.low, found.high]), clopper_pearson(found.share * 5, np.full(4, 5.0)))


@given(pairs, st.integers(0, 3))
@few
def test_rho_is_spearmans_and_its_interval_lies_about_it(drawn, seed):
    x, y = np.array(drawn, float).T
    x = x + np.arange(len(x)) * 0.001
    found = spearman_estimate(x, y)
    if np.ptp(y) == 0:
        assert np.isnan(found.rho) and is_none(interval_at(found, 2.0)) and found.n == len(x)
        return
    most = 1 - 12 / (len(x) * (len(x) ** 2 - 1))
    assert found.rho == pytest.approx(np.clip(scipy_stats.spearmanr(x, y)[0], -most, most))
    assert found.z_error >= np.sqrt((1 + found.rho**2 / 2) / (len(x) - 3)) - 1e-12
    alone = spearman_estimate(x, y, np.random.default_rng(seed).permutation(len(x)))
    assert alone == pytest.approx(found)
    low, high = interval_at(found, 1.5)
    half = -special.stdtrit(len(x) - 2, special.ndtr(-1.5)) * found.z_error
    assert np.arctanh([low, high]) == pytest.approx(np.arctanh(found.rho) + half * np.array([-1, 1]), abs=1e-5)


def test_the_error_is_spent_by_the_horizon():
    shares = [spent(n, 100, 10) for n in range(10, 101)]
    assert shares == sorted(shares) and shares[-1] == spent(101, 100, 10) == 1
    assert spent(50, 100, 10) == pytest.approx(0.4 * np.log(10) / np.log(20) + 0.6 * 0.125)
    assert is_none(interval_at(Estimate(np.nan, np.nan, 3), 2.0))


def test_p_values_of_plain_deviates():
    assert normal_p(1.959964) == normal_p(-1.959964) == pytest.approx(0.05, abs=1e-6)
    assert t_p(0.5, 10) == t_p(-0.5, 10) == pytest.approx(scipy_stats.t.sf(0.5 * (10 / 0.75) ** 0.5, 10) * 2)
    assert t_p(1.0, 5) == t_p(-1.2, 5) == 0
    values, pair = np.stack([np.arange(30.0), np.cos(np.arange(30.0))], axis=1), np.array([[0, 1]])
    assert np.isnan(p_values("spearman", np.ones((9, 2)), pair, np.array([np.nan])))
    assert p_values("pearson", values, pair, np.array([0.3])) == t_p(0.3, 28)
    assert p_values("pearson", values[:29], pair, np.array([0.3]), seed=1) != t_p(0.3, 27)


def test_steigers_z_is_a_worked_value():
    a, b, ab, n = 0.6, 0.4, 0.5, 103
    mean = 0.5
    shared = ab * (1 - 2 * mean**2) - 0.5 * mean**2 * (1 - 2 * mean**2 - ab**2)
    z = (np.arctanh(a) - np.arctanh(b)) * np.sqrt(100) / np.sqrt(2 - 2 * shared / (1 - mean**2) ** 2)
    assert steiger_p(a, b, ab, n) == pytest.approx(2 * special.ndtr(-z))
    assert not np.isnan(steiger_p(a, b, ab, 4)) and np.isnan(steiger_p(a, b, ab, 3))
    assert np.isnan(steiger_p(0.5, 0.5, 1.0, 50)) and np.isnan(steiger_p(0.5, -1.0, 0.1, 50))


def test_the_optimism_of_a_choice_is_taken_off():
    estimates = np.array([0.1, 0.3, 0.2])
    samples = RNG.normal(estimates[:, None], 0.1, (3, 400))
    found = honest_best(estimates, samples)
    picked = samples.argmax(axis=0)
    excess = samples.max(axis=0) - estimates[picked]
    low, high = np.quantile(excess, [0.025, 0.975])
    assert (found.best, found.estimate) == (1, pytest.approx(0.3 - excess.mean()))
    assert found.interval == pytest.approx((0.3 - high, 0.3 - low))
    np.testing.assert_allclose(found.shares, [(picked == i).mean() for i in range(3)])
    half = np.where(np.arange(400) < 200, np.nan, samples)
    assert np.isfinite(honest_best(estimates, half).estimate)
    half[0, 200] = np.nan
    none = honest_best(estimates, half)
    assert none.best == 1 and np.isnan(none.estimate) and none.interval is NO_INTERVAL and np.isnan(none.shares).all()
    assert is_none(honest_best(estimates, np.tile(estimates[:, None], 50)).interval)


def test_families_are_drawn_whole():
    families = np.array([5, 5, 7, 7, 7, 9])
    draws = Draws(300, 3, families)
    found = np.concatenate(list(blocks(6, draws)))
    assert found.shape == (300, 6) and (found[:, 0] == found[:, 1]).all() and (found[:, 2] == found[:, 4]).all()
    assert (found[:, [0, 2, 5]].sum(axis=1) == 3).all() and draws.family_count == 3
    assert draws.among(families == 7).family_count == 1 and draws.among(families == 7).seed == 3
    plain = np.concatenate(list(blocks(6, Draws(300, 3))))
    assert (plain.sum(axis=1) == 6).all() and Draws(3, 0).family_count is None
    assert len(list(blocks(6, draws))) == 2 and Draws(1, 0).among(np.arange(2)) == Draws(1, 0)
    np.testing.assert_array_equal(next(blocks(6, Draws(250, 3))), plain[:250])
