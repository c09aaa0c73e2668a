"""When is a target settled? The goal of a study, the looks at its results, and where a target stands at one of them."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy import special

from toolkit.analysis.finding import TRANSFERS, Verdict, verdict_of
from toolkit.errors import UsageError
from toolkit.stats.resampling import LEVEL, Interval
from toolkit.stats.sequential import Estimate, boundaries, interval_at

THRESHOLDS = (0.0, TRANSFERS)

FIRST = 16
"""Nets of the first look: below, an interval is too wide for any verdict but the plainest. Our choice."""
GROWTH = 1.25
"""Each look has a quarter more nets than the last: few waves, and at most a quarter trained in vain. Our choice."""
GIVE_UP = 0.2
"""Chance of a verdict within the horizon below which a target gets no more nets. Our choice; ``verdict=0.6`` changes
it."""
ONE_LOOK = float(special.ndtri((1 + LEVEL) / 2))
"""Half width of an interval that is looked at once, in standard errors."""


@dataclass(frozen=True)
class Goal:
    """What ``--until`` asks for."""

    kind: Literal["verdict", "width"]
    value: float
    """width: upper minus lower end of the interval; verdict: the chance of one below which a target is given up."""

    def __str__(self) -> str:
        return f"{self.kind}={self.value:g}"


def parse_goal(text: str) -> Goal:
    """The goal of ``verdict``, ``verdict=CHANCE`` or ``width=W``. Raises `UsageError` for anything else."""
    kind, _, number = text.partition("=")
    try:
        value = float(number) if number else GIVE_UP
    except ValueError:
        value = -1.0
    if kind == "verdict" and 0 <= value < 1:
        return Goal("verdict", value)
    if kind == "width" and number and 0 < value < 2:
        return Goal("width", value)
    raise UsageError(
        f"--until {text!r}: write verdict, verdict=CHANCE (0 to 1, below which a target is given up) or width=W (the "
        "interval's upper minus lower end, such as width=0.2)"
    )


def looks(horizon: int, first: int = FIRST) -> tuple[int, ...]:
    """Nets at each look: ``first``, then `GROWTH` times as many each time, the last one at the ``horizon``."""
    found = [min(first, horizon)]
    while (following := max(found[-1] + first // 2, round(found[-1] * GROWTH))) < horizon / np.sqrt(GROWTH):
        found.append(following)
    return (*found, horizon) if found[-1] < horizon else tuple(found)


class Standing(NamedTuple):
    """What is known of one target at one look."""

    look: int
    """Nets at that look; ``estimate.n`` of them have both values."""
    estimate: Estimate
    interval: Interval
    verdict: Verdict
    settled: bool
    """Whether it gets no more nets."""
    reason: str


def judge(estimate: Estimate, goal: Goal, schedule: tuple[int, ...], at: int) -> Standing:
    """Where a target stands at look number ``at`` of ``schedule``, whose last one is the horizon.

    For a verdict the interval is the sequential one. For a width it is the ordinary one: a rule that stops by the width
    alone hardly looks at where the interval lies, and its coverage stays (Chow & Robbins 1965, Ann. Math. Stat.
    36:457).
    """
    edges = boundaries(schedule, schedule[-1])
    interval = interval_at(estimate, edges[at] if goal.kind == "verdict" else ONE_LOOK)
    verdict = verdict_of(interval)
    last = at == len(schedule) - 1
    if goal.kind == "width":
        settled, reason = interval.high - interval.low <= goal.value, "narrow enough"
    elif verdict != "open":
        settled, reason = True, "verdict"
    else:
        settled = chance_of_verdict(estimate, edges[-1], schedule[-1]) < goal.value
        reason = f"chance of a verdict within {schedule[-1]} nets below {goal.value:g}"
    if last and not settled:
        settled, reason = True, "all nets are trained"
    return Standing(schedule[at], estimate, interval, verdict, settled, reason if settled else "")


def chance_of_verdict(estimate: Estimate, boundary: float, horizon: int) -> float:
    """The chance that the interval of ``horizon`` nets, ``boundary`` standard errors to each side, gives a verdict.

    Stochastic curtailment (Lan, Simon & Halperin 1982, Sequential Analysis 1:207) by the predictive distribution of the
    later z given this one, without any prior opinion on rho. NaN estimates have every chance.
    """
    if not np.isfinite(estimate.rho):
        return 1.0
    z, deviation = np.arctanh(estimate.rho), estimate.z_error * np.sqrt(estimate.n)
    to_come = max(deviation * np.sqrt(max(1 / estimate.n - 1 / horizon, 0.0)), 1e-9)
    half = boundary * deviation / np.sqrt(horizon)
    zones = [(np.arctanh(threshold) - half, np.arctanh(threshold) + half) for threshold in THRESHOLDS]
    stays_open = sum(special.ndtr((high - z) / to_come) - special.ndtr((low - z) / to_come) for low, high in zones)
    return float(max(0.0, 1 - stays_open))
