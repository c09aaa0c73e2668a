import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.analysis.finding import verdict_of
from toolkit.errors import UsageError
from toolkit.planning.goal import Goal, chance_of_verdict, judge, looks, parse_goal
from toolkit.stats.resampling import NO_INTERVAL, Interval
from toolkit.stats.sequential import Estimate, spearman_estimate


def test_goals_are_read() -> None:
    assert parse_goal("verdict") == Goal("verdict", 0.2)
    assert parse_goal("verdict=0.6") == Goal("verdict", 0.6)
    assert parse_goal("width=0.2") == Goal("width", 0.2)
    assert parse_goal(str(Goal("width", 0.2))) == Goal("width", 0.2)


@pytest.mark.parametrize(
    "text", ["", "width", "width=", "width=0", "width=2", "width=x", "verdict=1", "verdict=nan", "p"]
)
def test_a_goal_that_cannot_be_read_says_what_can(text: str) -> None:
    with pytest.raises(UsageError, match="write verdict"):
        parse_goal(text)


@given(st.integers(1, 3000), st.integers(4, 64))
def test_looks_rise_to_the_horizon(horizon: int, first: int) -> None:
    found = looks(horizon, first)
    assert found[-1] == horizon
    assert list(found) == sorted(set(found))
    assert found[0] == min(first, horizon)
    assert len(found) < 40


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [((0.51, 0.9), "transfers"), ((-0.9, -0.01), "reversed"), ((0.01, 0.49), "between"), ((0.4, 0.6), "open"),
     ((-0.1, 0.1), "open"), (NO_INTERVAL, "open")],
)  # fmt: skip
def test_a_verdict_needs_the_whole_interval_on_one_side(interval, verdict) -> None:
    assert verdict_of(Interval(*interval)) == verdict


def test_the_chance_of_a_verdict_is_what_simulation_finds() -> None:
    rng = np.random.default_rng(0)
    now, z, deviation = Estimate(0.4, math.sqrt(1.08 / 97), 100), np.arctanh(0.4), math.sqrt(1.08 * 100 / 97)
    later = z + rng.standard_normal(200_000) * deviation * math.sqrt(1 / 100 - 1 / 500)
    half = 2.2 * deviation / math.sqrt(500)
    settled = (
        (later - half > np.arctanh(0.5)) | (later + half < 0) | ((later - half > 0) & (later + half < np.arctanh(0.5)))
    )
    assert chance_of_verdict(now, 2.2, 500) == pytest.approx(settled.mean(), abs=0.005)
    assert chance_of_verdict(Estimate(math.nan, math.nan, 3), 2.2, 500) == 1


def test_no_target_is_open_for_ever_and_none_is_given_up_without_reason() -> None:
    schedule = looks(64)
    x = np.arange(64.0)
    for y in (x, np.random.default_rng(0).permutation(64).astype(float), np.zeros(64)):
        for goal in (Goal("verdict", 0.2), Goal("verdict", 0), Goal("width", 0.1)):
            standings = [judge(spearman_estimate(x[:n], y[:n]), goal, schedule, at) for at, n in enumerate(schedule)]
            assert standings[-1].settled
            assert all(bool(s.reason) == s.settled for s in standings)
    assert judge(spearman_estimate(x[:16], x[:16]), Goal("verdict", 0.2), schedule, 0).verdict == "transfers"
