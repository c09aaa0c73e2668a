"""Replay a finished study as if it had been stopped early: each value of its table stands for a training run.

Twice over: the nets in a new random order, whose verdict is held against the full study's; and drawn with replacement,
as from a design space whose true rho is the full study's, which says whether the intervals hold what they promise.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from toolkit.analysis.finding import verdict_of
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.roles import Roles
from toolkit.analysis.table import Table, table
from toolkit.errors import UsageError
from toolkit.planning.goal import ONE_LOOK, Goal, Standing, judge, looks
from toolkit.stats.resampling import Floats, Interval
from toolkit.stats.sequential import Estimate, boundaries, interval_at, spearman_estimate

Row = dict[str, Any]
Estimates = list[list[Estimate]]
"""[target][look] of one replay."""


class Replays(NamedTuple):
    """The estimates of every replay at every look; all goals can be judged from them."""

    targets: list[str]
    schedule: tuple[int, ...]
    full: list[Estimate]
    """Of the whole study, by target."""
    reordered: list[Estimates]
    """Of each replay, each net once."""
    drawn: list[Estimates]
    """The same, nets drawn with replacement."""


def replays(data: Measurements, who: Roles, count: int, seed: int, workers: int) -> Replays:
    """``count`` replays of ``data``, all that is not the reference counting as a target.

    Raises `UsageError` when fewer than 32 nets have all values.
    """
    targets = [name for name in data.datasets if name != who.reference]
    values = np.stack([data.column(name) for name in (who.reference, *targets)], axis=1)
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < 32 or not targets:
        raise UsageError(
            f"{data.name}: {len(values)} nets have all values on {len(targets)} targets; a replay needs 32"
        )
    schedule = looks(len(values))
    full = _estimates(values, (len(values),))
    draws = [(replace, i) for replace in (False, True) for i in range(count)]
    found = _with_bar(_in_processes(partial(_replay, values, schedule, seed), draws, workers), len(draws))
    return Replays(targets, schedule, [row[0] for row in full], found[:count], found[count:])


def _in_processes(
    replay: Callable[[tuple[bool, int]], Estimates], draws: Sequence[tuple[bool, int]], workers: int
) -> Iterator[Estimates]:
    """A replay of each draw, in order. Not in forks: locks of polars' threads would stay locked in a copy."""
    if workers == 1:
        yield from map(replay, draws)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("forkserver"), _end_with_parent) as pool:
        yield from pool.map(replay, draws, chunksize=8)


def _with_bar(done: Iterable[Estimates], count: int) -> list[Estimates]:
    console = Console(stderr=True)
    return list(track(done, "replaying", count, console=console, transient=True, disable=not console.is_terminal))


def _end_with_parent() -> None:
    """Have this worker end when its parent is killed: of itself it would wait for its siblings for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _replay(values: Floats, schedule: Sequence[int], seed: int, draw: tuple[bool, int]) -> Estimates:
    """``draw``: whether with replacement, and its number."""
    replace, number = draw
    order = np.random.default_rng((seed, number)).choice(len(values), len(values), replace=replace)
    return _estimates(values[order], schedule)


def _estimates(values: Floats, schedule: Sequence[int]) -> Estimates:
    """Of ``values`` (n, 1 + targets), the reference first."""
    return [[spearman_estimate(values[:n, 0], values[:n, k]) for n in schedule] for k in range(1, values.shape[1])]


def stop(estimates: Sequence[Estimate], goal: Goal, schedule: tuple[int, ...]) -> Standing:
    """The first look at which a target is settled."""
    standings = (judge(estimate, goal, schedule, at) for at, estimate in enumerate(estimates))
    return next(standing for standing in standings if standing.settled)


def outcome(found: Replays, goal: Goal, hours: Mapping[str, float], reference: str) -> tuple[list[Row], Row]:
    """What a goal would have saved and cost: a row for each target, and one for all of them.

    ``hours`` of one net by dataset, where they are known.
    """
    stops = [[stop(e, goal, found.schedule) for e in replay] for replay in found.reordered]
    rows = [
        _row(found, goal, k, [replay[k] for replay in stops], [replay[k] for replay in found.drawn])
        for k in range(len(found.targets))
    ]
    nets = {row["target"]: row["nets"] for row in rows}
    every = dict.fromkeys(nets, float(found.schedule[-1]))
    with_reference = nets | {reference: float(np.mean([max(s.look for s in replay) for replay in stops]))}
    means = {key: float(np.mean([row[key] for row in rows])) for key in SHARES}
    total = {"nets": sum(nets.values()), "fewer": sum(every.values()) / sum(nets.values())} | means
    total["reference_nets"] = with_reference[reference]
    all_every = every | {reference: float(found.schedule[-1])}
    total["fewer_with_reference"] = sum(all_every.values()) / sum(with_reference.values())
    if hours.keys() >= with_reference.keys():
        spent, full = (sum(hours[name] * n for name, n in counts.items()) for counts in (with_reference, all_every))
        total |= {"hours": spent, "hours_in_full": full, "fewer_hours": full / spent}
    return rows, total


SHARES = ("same", "false", "overstated", "withheld", "covered", "covered_always", "covered_naive")
"""Columns that are shares of the replays."""


def _row(found: Replays, goal: Goal, k: int, stops: Sequence[Standing], drawn: Sequence[Sequence[Estimate]]) -> Row:
    full, schedule = found.full[k], found.schedule
    answer = verdict_of(interval_at(full, ONE_LOOK))
    given = [standing.verdict for standing in stops]
    counts = {
        "same": [verdict == answer for verdict in given],
        "false": [verdict != answer and "open" not in (verdict, answer) for verdict in given],
        "overstated": [answer == "open" != verdict for verdict in given],
        "withheld": [verdict == "open" != answer for verdict in given],
        "covered": [_holds(stop(estimates, goal, schedule).interval, full.rho) for estimates in drawn],
        "covered_always": [_all_hold(e, boundaries(schedule, schedule[-1]), full.rho) for e in drawn],
        "covered_naive": [_all_hold(e, [ONE_LOOK] * len(schedule), full.rho) for e in drawn],
    }
    nets = float(np.mean([standing.look for standing in stops]))
    return {
        "target": found.targets[k],
        "rho": full.rho,
        "full_verdict": answer,
        "nets": nets,
        "fewer": schedule[-1] / nets,
        **{name: float(np.mean(share)) for name, share in counts.items()},
    }


def _all_hold(estimates: Sequence[Estimate], edges: Sequence[float], rho: float) -> bool:
    return all(_holds(interval_at(e, edge), rho) for e, edge in zip(estimates, edges, strict=True))


def _holds(interval: Interval, rho: float) -> bool:
    return interval.low <= rho <= interval.high


def replay_tables(found: Replays, goals: Sequence[Goal], hours: Mapping[str, float], reference: str) -> list[Table]:
    """A table of targets for the first goal, one that compares all goals, and one of what they cost in all."""
    outcomes = [outcome(found, goal, hours, reference) for goal in goals]
    totals = [{"goal": str(goal)} | total for goal, (_, total) in zip(goals, outcomes, strict=True)]
    verdicts = [{key: row[key] for key in ("goal", "nets", "fewer", *SHARES)} for row in totals]
    costs = [{key: value for key, value in row.items() if key == "goal" or key not in verdicts[0]} for row in totals]
    count = f"{len(found.reordered)} replays; looks after {', '.join(map(str, found.schedule))} nets"
    return [
        table("replay-targets", f"Until {goals[0]}, by target", outcomes[0][0], NOTE),
        table("replay", "All targets together, by goal", verdicts, count),
        table("replay-cost", f"With the nets that {reference} needs", costs),
    ]


NOTE = (
    "nets: mean of those trained; same: the full study's verdict; false: another verdict; overstated: a verdict where "
    "the full study has none; withheld: none where it has one. covered: share of replays with nets drawn afresh in "
    "which the full study's rho lies in the interval of stopping; always: in those of all looks; naive: in ordinary "
    "intervals of all looks"
)
