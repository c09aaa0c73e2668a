"""A study that stops when it is settled: its frozen order of nets, and what each target still needs.

What is trained next is a function of the frozen document and the results alone. So a run that was interrupted, or is
gone on with by hand, trains the same nets and comes to the same end as one that nobody disturbed.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from toolkit.analysis.table import Table, table
from toolkit.errors import UsageError
from toolkit.planning.goal import Goal, Standing, judge, looks, parse_goal
from toolkit.planning.halving import BIASED
from toolkit.planning.wave import Wave
from toolkit.stats.sequential import spearman_estimate
from toolkit.study import Study, Task
from toolkit.study.dataset import USUAL_REFERENCE
from toolkit.study.model import FrozenModel
from toolkit.study.scan import scan

ORDER_SEED = 0
"""Of the order of nets. One for all studies: two on the same population then train the same nets first."""
FINISHED = ("done", "failed", "diverged")


class StoppingRule(FrozenModel):
    """The document ``until.json`` of a study: all that was decided before the first result."""

    version: Literal[1] = 1
    goal: str
    reference: str
    targets: tuple[str, ...]
    looks: tuple[int, ...]
    """Nets at each look; the last one is the most that any target gets."""
    order: tuple[str, ...]
    """Architectures in the order in which they are trained."""
    order_seed: int = ORDER_SEED
    candidates: str
    """SHA-256 of the ids of all tasks that were to choose from."""

    @property
    def parsed_goal(self) -> Goal:
        """What is asked for."""
        return parse_goal(self.goal)

    def outlook(self) -> dict[str, Any]:
        """What a dry run says of it."""
        return {"until": self.goal, "looks": list(self.looks)}

    def freeze(self, study: Study, candidates: Collection[str]) -> None:
        """Write the rule into the study, once. Raises `UsageError` when the study has another one, or other tasks.

        The caller holds the study's lock.
        """
        path = rule_path(study)
        if study.halved:
            raise UsageError(f"study {study.path} was launched with --halving: {BIASED}; name another --study")
        if others := study.labels().keys() - candidates:
            raise UsageError(
                f"study {study.path} has {len(others)} tasks that are none of this call: give the same nets, datasets, "
                "seeds and recipe as before, or another --study"
            )
        if not path.exists():
            self.write(path)
            return
        frozen = StoppingRule.read(path)
        differing = [name for name in StoppingRule.model_fields if getattr(frozen, name) != getattr(self, name)]
        if differing:
            shown = ", ".join(f"{name} {_short(getattr(frozen, name))}" for name in differing)
            raise UsageError(
                f"{path} froze the rule before the first result: {shown} there; give the same call, or name another "
                "--study"
            )

    def wave(self, study: Study, tasks: Mapping[str, Task]) -> Wave:
        """The nets that each dataset needs for its next look; none when every target is settled."""
        declared = study.room("tasks").is_dir()
        found = progress(study, self) if declared else _nothing(self)
        needed = wanted(self, found.needs, tasks)
        finished = study.finished() if declared else set()
        facts = {"nets": dict(found.needs), "of": self.looks[-1]}
        return Wave(needed, found.settled, len(finished), standings_table(self, found), facts=facts)


def rule_path(study: Study) -> Path:
    """``until.json``."""
    return study.path / "until.json"


def stopping_rule(tasks: Iterable[Task], goal: Goal, first: int, max_nets: int | None) -> StoppingRule:
    """The rule for a study of ``tasks``; the reference is imagenet where it is among the datasets, else the first.

    Raises `UsageError` unless there are two datasets with the same nets.
    """
    tasks = list(tasks)
    nets: dict[str, set[str]] = {}
    for task in tasks:
        nets.setdefault(task.column, set()).add(task.architecture)
    reference = USUAL_REFERENCE if USUAL_REFERENCE in nets else next(iter(nets), "")
    if len(nets) < 2 or any(some != nets[reference] for some in nets.values()):
        raise UsageError("--until compares datasets: give two or more, all with the same nets")
    order = np.random.default_rng(ORDER_SEED).permutation(sorted(nets[reference])).tolist()
    return StoppingRule(
        goal=str(goal),
        reference=reference,
        targets=tuple(name for name in nets if name != reference),
        looks=looks(min(len(order), max_nets or len(order)), first),
        order=tuple(order),
        candidates=hashlib.sha256("".join(sorted(task.id for task in tasks)).encode()).hexdigest(),
    )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(frozen=True)
class Progress:
    """Where every target stands, and how many nets of the order each dataset needs for its next look."""

    standings: Mapping[str, Standing | None]
    """The last look that has all its results; None before the first."""
    needs: Mapping[str, int]

    @property
    def settled(self) -> bool:
        """Whether no target needs more nets."""
        return all(standing is not None and standing.settled for standing in self.standings.values())


def _nothing(rule: StoppingRule) -> Progress:
    return Progress(dict.fromkeys(rule.targets), dict.fromkeys((rule.reference, *rule.targets), rule.looks[0]))


def progress(study: Study, rule: StoppingRule) -> Progress:
    """Judge every look whose nets all have results. A net that failed or diverged has one, and counts as missing."""
    found = _Results(study, rule)
    standings: dict[str, Standing | None] = {}
    needs: dict[str, int] = {}
    for target in rule.targets:
        standings[target], needs[target] = _walk(found, rule, target)
    return Progress(standings, {rule.reference: max(needs.values()), **needs})


def _walk(found: "_Results", rule: StoppingRule, target: str) -> tuple[Standing | None, int]:
    """The last judged look of a target, and the nets it needs: those of the look that settles it or is not complete."""
    standing = None
    for at, n in enumerate(rule.looks):
        if not (found.complete(rule.reference, n) and found.complete(target, n)):
            return standing, n
        x, y = found.values[rule.reference][:n], found.values[target][:n]
        both = np.isfinite(x) & np.isfinite(y)
        standing = judge(spearman_estimate(x[both], y[both]), rule.parsed_goal, rule.looks, at)
        if standing.settled:
            break
    return standing, standing.look if standing else rule.looks[0]


class _Results:
    """A study's results in the order of its nets."""

    def __init__(self, study: Study, rule: StoppingRule) -> None:
        place = {name: i for i, name in enumerate(rule.order)}
        columns = (rule.reference, *rule.targets)
        declared = {i: task for i, task in study.tasks().items() if task.architecture in place}
        frame = scan(study).frame.filter(pl.col("status").is_in(FINISHED))
        errors = dict(zip(frame["id"], frame["error"], strict=True))
        self.unfinished = {name: np.zeros(len(place), int) for name in columns}
        self.declared = {name: np.zeros(len(place), int) for name in columns}
        sums = {name: np.zeros(len(place)) for name in columns}
        counts = {name: np.zeros(len(place)) for name in columns}
        for task_id, task in declared.items():
            if task.column not in sums:
                continue
            at = place[task.architecture]
            self.declared[task.column][at] += 1
            self.unfinished[task.column][at] += task_id not in errors
            if (error := errors.get(task_id)) is not None:
                sums[task.column][at] += error
                counts[task.column][at] += 1
        with np.errstate(invalid="ignore"):
            self.values = {name: sums[name] / counts[name] for name in columns}

    def complete(self, dataset: str, n: int) -> bool:
        """Whether the first ``n`` nets of the order have all their results there."""
        return bool((self.declared[dataset][:n] > 0).all() and not self.unfinished[dataset][:n].any())


def wanted(rule: StoppingRule, needs: Mapping[str, int], tasks: Mapping[str, Task]) -> dict[str, Task]:
    """Of ``tasks``, those of the nets that each dataset needs."""
    place = {name: i for i, name in enumerate(rule.order)}
    return {i: task for i, task in tasks.items() if place[task.architecture] < needs[task.column]}


def standings_table(rule: StoppingRule, found: Progress) -> Table:
    """Where every target stands; the note says that looking happened, and how the interval allows for it."""
    rows = [_row(target, standing) for target, standing in found.standings.items()]
    kind = (
        "they hold at all looks together (alpha spending, Lan & DeMets 1983)"
        if rule.parsed_goal.kind == "verdict"
        else "the width alone decides when to stop (Chow & Robbins 1965)"
    )
    note = (
        f"Spearman with {rule.reference}. Results were looked at after {', '.join(map(str, rule.looks))} nets, in an "
        f"order drawn before (seed {rule.order_seed}), until {rule.goal}; 95% intervals: {kind}"
    )
    return table("sequential", f"Until {rule.goal}", rows, note)


def _row(target: str, standing: Standing | None) -> dict[str, object]:
    if standing is None:
        return {"target": target, "nets": 0, "rho": None, "rho_low": None, "rho_high": None, "verdict": "open"} | {
            "settled": False, "why": "no look yet"
        }  # fmt: skip
    low, high = standing.interval
    row: dict[str, object] = {"target": target, "nets": standing.look, "rho": standing.estimate.rho, "rho_low": low}
    row |= {"rho_high": high, "verdict": standing.verdict, "settled": standing.settled, "why": standing.reason}
    return row
