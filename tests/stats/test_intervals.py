"""Intervals hold what they say with few rows and at the ends, or are not given; ties are no matter of row order."""

import json
from itertools import permutations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from tests.benchmarks.coverage import AT_LEAST, cases, simulate
from tests.benchmarks.coverage import main as coverage
from toolkit.analysis.table import with_interval
from toolkit.report import main as report
from toolkit.stats.correlation import bootstrap_correlations, correlations
from toolkit.stats.fits import ols
from toolkit.stats.intervals import BOOTSTRAP_FROM, correlation_interval, fisher_interval, interval_from
from toolkit.stats.ranking import (
    Noise,
    flips,
    rank_intervals,
    regret,
    regret_at_most,
    same_ranking,
    top_overlap,
)
from toolkit.stats.resampling import Draws, percentile_interval

PAIR = np.array([[0, 1]])
ROWS = Draws(100, 0)
few = st.integers(0, 6)
rows = st.lists(st.tuples(few, few), min_size=4, max_size=25)


@settings(max_examples=60)
@given(rows)
def test_an_interval_has_a_width_and_few_rows_hold_their_estimate(drawn):
    values = np.array(drawn, float)
    n = len(values)
    found = correlations(values, PAIR)
    samples = bootstrap_correlations(values, PAIR, Draws(200, 0))
    for name, estimate, sample in zip(samples._fields, found, samples, strict=True):
        low, high = correlation_interval(name, estimate[0], sample[0], n, ROWS)
        assert np.isnan([low, high]).all() or -1 <= low < high <= 1
        assert n >= BOOTSTRAP_FROM["spearman"] or (not low - estimate[0] > 1e-9 and not estimate[0] - high > 1e-9)
    rho = found.spearman[0]
    assert np.isfinite(fisher_interval("spearman", rho, n)).all() == np.isfinite(rho)


@pytest.mark.parametrize("n", [9, 40, 500])
@pytest.mark.parametrize("sign", [1, -1])
def test_ranks_that_all_agree_leave_doubt(n, sign):
    values = np.stack([np.arange(n), sign * np.exp(np.arange(n) / n)], axis=1)
    samples = bootstrap_correlations(values, PAIR, Draws(100, 0))
    low, high = correlation_interval("spearman", float(sign), samples.spearman[0], n, ROWS)
    assert low < high and (high if sign > 0 else low) == sign
    ends = with_interval(float(sign), low, high, 2).partition("[")[2].strip("]").split(", ")
    assert ends[0] != ends[1] and float(ends[0]) < float(ends[1])


def test_fishers_interval_is_the_one_of_bonett_and_wright():
    z, half = np.arctanh(0.6), 1.959964 * np.sqrt((1 + 0.18) / 7)
    np.testing.assert_allclose(fisher_interval("spearman", 0.6, 10), np.tanh([z - half, z + half]), rtol=1e-6)
    expected = scipy_stats.pearsonr(*np.random.default_rng(0).standard_normal((2, 12)))
    found = fisher_interval("pearson", expected.statistic, 12)
    np.testing.assert_allclose(found, expected.confidence_interval(), rtol=1e-6)


def test_what_the_bootstrap_cannot_see_is_not_given():
    assert np.isnan(percentile_interval(np.ones(500))).all()
    assert np.isnan(interval_from(8, 0.5, np.linspace(0, 1, 100), 7, ROWS)).all()
    assert np.isfinite(interval_from(8, 0.5, np.linspace(0, 1, 100), 8, ROWS)).all()
    assert np.isnan(ols(np.arange(5.0), 2 * np.arange(5.0)).line.slope_interval).all()


QUICK = {("distribution", 10), ("gains", 10), ("fits", 10), ("partial", 12), ("agreement", 10), ("ranking", 10)}
CHECKED = [
    case
    for case in cases()
    if ((case.table, case.n) in QUICK and case.good in ("0.95", AT_LEAST, "to 0.05"))
    or (
        case.table == "pairs"
        and case.n in (4, 9, 10)
        and (case.quantity, case.setting) in {("spearman", "rho 0.9"), ("pearson", "rho 0.5")}
    )
]


@pytest.mark.slow
@pytest.mark.parametrize("case", CHECKED, ids=lambda case: f"{case.table}-{case.quantity}-{case.setting}-{case.n}")
def test_simulated_studies_hold_the_truth(case):
    """200 studies of fixed seed: 0.91 is 2.6 standard errors under 0.95, 0.985 as many over it."""
    found = simulate(case, 200)["found"]
    if case.quantity == "deming" or (case.quantity == "spearman" and case.n == 4):
        assert found is None
    elif case.good in ("0.95", AT_LEAST):
        assert 0.91 <= found <= (0.99 if case.good == "0.95" else 1)
    elif case.good == "to 0.05":
        assert found <= 0.09


@pytest.mark.parametrize("gap", ["0", "0.1"])
@pytest.mark.slow
def test_as_many_flips_beyond_noise_are_expected_as_equal_rankings_show(gap):
    where = "agreement", 100, f"nets {gap} errors apart"
    found = {case.quantity: case for case in cases() if (case.table, case.n, case.setting) == where}
    by = {name: simulate(found[name], 60)["found"] for name in ("beyond noise", "by chance")}
    assert by["beyond noise"] > 0.5 and 0.7 * by["beyond noise"] <= by["by chance"] <= 2 * by["beyond noise"]


@settings(max_examples=60)
@given(rows, st.randoms(use_true_random=False))
def test_ties_are_broken_by_expectation_not_by_row(drawn, source):
    x, y = np.array(drawn, float).T
    errors = np.full(len(x), 0.5)
    order = np.array(source.sample(range(len(x)), len(x)))
    assert regret(x[order], y[order]) == pytest.approx(regret(x, y))
    assert top_overlap(x[order], y[order], 3) == pytest.approx(top_overlap(x, y, 3))
    assert regret_at_most(x[order], y[order], errors) == pytest.approx(regret_at_most(x, y, errors))
    assert regret_at_most(x, y, errors) >= regret(x, y)
    first, last = rank_intervals(x, errors)
    assert (first <= scipy_stats.rankdata(x, "min")).all() and (scipy_stats.rankdata(x, "max") <= last).all()


def test_overlap_of_tied_ones_is_the_mean_over_all_ways_to_break_the_ties():
    x, y = np.array([1.0, 1, 1, 2]), np.array([3.0, 1, 1, 1])
    ways = [
        len(set(sorted(p, key=lambda i: x[i])[:2]) & set(sorted(q, key=lambda i: y[i])[:2])) / 2
        for p in permutations(range(4))
        for q in permutations(range(4))
    ]
    assert top_overlap(x, y, 2) == pytest.approx(np.mean(ways))


def test_none_wrong_is_compared_exactly():
    """0 against 5 of 100 is 2.3 standard errors by the usual formula, and no more than 1.9 by Fisher's exact test."""
    wrong, images, nothing = np.array([0.0, 5.0]), np.full(2, 100.0), np.full(2, np.nan)
    values, other = wrong / images, np.array([1.0, 0.0])
    wald = np.sqrt(values * (1 - values) / images)
    clear = Noise(np.full(2, 0.01), nothing, nothing)
    assert flips(values, other, Noise(wald, nothing, nothing), clear).beyond_noise == 1
    assert scipy_stats.fisher_exact([[0, 100], [5, 95]]).pvalue > 0.05
    assert flips(values, other, Noise(wald, wrong, images), clear).beyond_noise == 0
    assert flips(1 - values, 1 - other, Noise(wald, images - wrong, images), clear).beyond_noise == 0
    assert flips(values[::-1], other[::-1], Noise(wald[::-1], wrong[::-1], images), clear).beyond_noise == 0
    assert flips(values, other, Noise(wald, np.array([0.0, 9.0]), images), clear).beyond_noise == 1


@pytest.mark.slow
def test_equal_nets_are_not_refused_the_same_ranking():
    rng = np.random.default_rng(0)
    one = np.ones(40)
    p = [same_ranking(*rng.standard_normal((2, 40)), one, one, seed).p for seed in range(60)]
    assert np.mean(np.array(p) < 0.05) <= 0.12 and 0.3 < np.mean(p) < 0.75


@pytest.mark.slow
def test_p_same_finds_nearly_what_a_test_finds_that_knows_the_truth():
    where = "agreement", 10, "nets 1 errors apart"
    found = {case.quantity: case for case in cases() if (case.table, case.n, case.setting) == where}
    power, knowing = (simulate(found[name], 150)["found"] for name in ("power of p", "knowing the null"))
    assert knowing > 0.25 and power > 0.7 * knowing


def test_nine_nets_in_one_order_do_not_settle_it(tmp_path, capsys):
    columns = {"architecture": [f"n{i}" for i in range(9)], "imagenet": range(10, 19), "other": range(30, 39)}
    pl.DataFrame(columns).write_csv(tmp_path / "t.csv")
    asked = [str(tmp_path / "t.csv"), "--error", "--unit", "percent"]
    report(asked)
    said = capsys.readouterr().out
    assert "[1.00, 1.00]" not in said and "other 1.00 [0.89, 1.00]" in said
    report([*asked, "--json"])
    pairs = json.loads(capsys.readouterr().out)["tables"]["pairs"]
    (row,) = pairs["rows"] if isinstance(pairs, dict) else pairs
    assert row["kendall_low"] is None and row["pearson_low"] is None and row["spearman_high"] == 1


def test_ranks_of_few_nets_have_no_interval_and_the_finding_says_why(tmp_path, capsys):
    columns = {"architecture": [f"n{i}" for i in range(6)], "imagenet": range(10, 16), "other": range(30, 36)}
    pl.DataFrame(columns).write_csv(tmp_path / "t.csv")
    report([str(tmp_path / "t.csv"), "--error", "--unit", "percent"])
    said = " ".join(capsys.readouterr().out.split())
    why = "(no interval of ranks: 6 architectures, fewer than 9): Spearman other 1.00."
    assert said.startswith(f"Whether the ranking on imagenet transfers is open {why}") and "1.00 [" not in said


def test_the_simulation_prints_a_table(capsys):
    coverage(["--only", "distribution", "--studies", "20"])
    said = capsys.readouterr().out
    assert said.startswith("| table |") and "| distribution | share | uniform | 0.95 or more | n 4: " in said
