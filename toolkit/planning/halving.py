"""Successive halving: train all nets a little, the better half of them longer, and so on, to find the best ones.

Jamieson & Talwalkar 2016 (arXiv 1502.07943). A net that is cut off is saved and left, at an epoch of its own recipe:
whoever goes on trains as a run that was never interrupted. Every rung's decision is written down before the next one
begins. For finding the best net only: the nets that are left are no sample of the design space.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from toolkit.analysis.table import Table, table
from toolkit.errors import ToolkitError, UsageError
from toolkit.planning.wave import Wave
from toolkit.study import Study, Task
from toolkit.study.model import FrozenModel
from toolkit.study.study import HALVING

KEEP = 2
"""One net in so many goes on at each rung."""
BIASED = "the nets that halving leaves are no sample of the design space: their correlations would be biased"

Nets = Mapping[str, Sequence[str]]
"""Architectures by dataset."""


class Rung(FrozenModel):
    """The document ``rungs/N.json``: who went on, and by which errors."""

    version: Literal[1] = 1
    after: int
    """Epochs trained."""
    errors: dict[str, dict[str, float]]
    """By dataset and architecture, the mean over seeds; a net without one (failed, diverged) is out."""
    kept: dict[str, tuple[str, ...]]
    """Architectures that go on, by dataset, the best one first."""


class HalvingRule(FrozenModel):
    """The document ``halving.json`` of a study: all that was decided before the first net was trained."""

    version: Literal[1] = 1
    best: int
    """Nets that are looked for, on each dataset: no rung leaves fewer."""
    keep: int = KEEP
    rungs: tuple[int, ...]
    """Epochs after which nets are compared."""
    epochs: int
    candidates: str
    """SHA-256 of the ids of all tasks that were to choose from."""

    @property
    def goal(self) -> str:
        """As `toolkit.planning.request.WaveRequest` says it."""
        return f"best={self.best}"

    def outlook(self) -> dict[str, Any]:
        """What a dry run says of it."""
        return {"halving": self.goal, "rungs_after_epochs": list(self.rungs)}

    def freeze(self, study: Study, candidates: Collection[str]) -> None:
        """Write the rule into the study, once. Raises `UsageError` when it has another one, or other tasks.

        The caller holds the study's lock.
        """
        path = study.path / HALVING
        if not path.exists() and (study.path / "until.json").exists():
            raise UsageError(f"study {study.path} was launched with --until, for correlations, and {BIASED}")
        if path.exists() and HalvingRule.read(path) != self:
            raise UsageError(f"{path} froze another halving: give the same call again, or name another --study")
        if others := study.labels().keys() - candidates:
            raise UsageError(f"study {study.path} has {len(others)} tasks that are none of this call: name another one")
        if not path.exists():
            self.write(path)

    def wave(self, study: Study, tasks: Mapping[str, Task]) -> Wave:
        """What the rung that is not complete still has to train; rungs that are complete are decided on the way."""
        left: Nets = _all_nets(tasks)
        decided, reached = dict[Path, Rung](), 0
        for number, after in enumerate(self.rungs, 1):
            path, found = study.path / "rungs" / f"{number}.json", _Rung(study, _of(left, tasks), after)
            reached += len(found.tasks) - len(found.missing)
            if path.exists():
                left = Rung.read(path).kept
            elif found.missing:
                return Wave(found.missing, False, reached, _standing(self, left, found, number), after, decided)
            else:
                decided[path] = found.decide(left, self)
                left = decided[path].kept
        last = _Rung(study, _of(left, tasks), self.epochs)
        reached += len(last.tasks) - len(last.missing)
        standing = _standing(self, left, last, len(self.rungs) + 1)
        return Wave(last.missing, not last.missing, reached, standing, None, decided)


def halving_rule(tasks: Iterable[Task], best: int) -> HalvingRule:
    """The rule for ``tasks``. Raises `UsageError` where their epochs differ, or leave nothing to halve."""
    tasks = list(tasks)
    lengths = {task.recipe.epochs for task in tasks}
    nets = min(len(names) for names in _all_nets({task.id: task for task in tasks}).values())
    if len(lengths) > 1:
        raise UsageError(f"--halving compares epochs: the recipes have {sorted(lengths)}; halve each dataset by itself")
    epochs = lengths.pop()
    found = rungs(range(1, epochs + 1), nets, best)
    if not found:
        raise UsageError(f"--halving {best}: {nets} nets of {epochs} epochs leave nothing to halve; train them all")
    candidates = hashlib.sha256("".join(sorted(task.id for task in tasks)).encode()).hexdigest()
    return HalvingRule(best=best, rungs=tuple(found), epochs=epochs, candidates=candidates)


def rungs(epochs: Sequence[int], nets: int, best: int) -> list[int]:
    """Of ``epochs``, those after a half, a quarter, ... of the last one, while more nets than ``best`` are left."""
    found: set[int] = set()
    wanted, left = epochs[-1] / KEEP, nets
    while wanted >= epochs[0] and left > best:
        found.add(max(epoch for epoch in epochs if epoch <= wanted))
        wanted, left = wanted / KEEP, -(-left // KEEP)
    return sorted(found)


def survivors(errors: Mapping[str, float], before: int, best: int, keep: int = KEEP) -> tuple[str, ...]:
    """The better 1 in ``keep`` of ``before`` nets, at least ``best``; of equals the first by name."""
    ranked = sorted(errors, key=lambda net: (errors[net], net))
    return tuple(ranked[: max(best, -(-before // keep))])


def best_of(goal: str) -> int:
    """The number of nets that a goal such as ``best=3`` looks for; 0 for another kind of goal."""
    kind, _, number = goal.partition("=")
    return int(number) if kind == "best" else 0


def _all_nets(tasks: Mapping[str, Task]) -> dict[str, tuple[str, ...]]:
    nets: dict[str, dict[str, None]] = defaultdict(dict)
    for task in tasks.values():
        nets[task.column][task.architecture] = None
    return {column: tuple(names) for column, names in nets.items()}


def _of(nets: Nets, tasks: Mapping[str, Task]) -> dict[str, Task]:
    return {i: task for i, task in tasks.items() if task.architecture in nets[task.column]}


class _Rung:
    """How far the tasks of a rung have come."""

    def __init__(self, study: Study, tasks: Mapping[str, Task], after: int) -> None:
        self.tasks, self.after = tasks, after
        self.errors: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.missing: dict[str, Task] = {}
        finished = study.finished() if study.room("results").is_dir() else set()
        for task_id, task in tasks.items():
            error = (
                _result_error(study, task_id, after) if task_id in finished else _paused_error(study, task_id, after)
            )
            if error is not None:
                self.errors[task.column][task.architecture].append(error)
            elif task_id not in finished:
                self.missing[task_id] = task

    def means(self, column: str) -> dict[str, float]:
        """Error by net, in the mean over seeds."""
        return {net: sum(values) / len(values) for net, values in self.errors[column].items()}

    def decide(self, left: Nets, rule: HalvingRule) -> Rung:
        """Who goes on."""
        errors = {column: self.means(column) for column in left}
        kept = {column: survivors(errors[column], len(nets), rule.best, rule.keep) for column, nets in left.items()}
        return Rung(after=self.after, errors=errors, kept=kept)


def _result_error(study: Study, task_id: str, after: int) -> float | None:
    """The error after so many epochs of a task that has its result; None when it failed, diverged or is damaged."""
    try:
        result = study.result(task_id)
    except ToolkitError:
        return None
    if result is None or result.status != "done":
        return None
    return next(e.error(result.metric) for e in result.evaluations if e.epoch == after)


def _paused_error(study: Study, task_id: str, after: int) -> float | None:
    progress = study.progress(task_id)
    return progress.error if progress and progress.phase == "paused" and progress.epoch >= after else None


def _standing(rule: HalvingRule, left: Nets, found: _Rung, number: int) -> Table:
    """The nets that are left, the best ones first as far as their errors are known."""
    rows = [row for column in left for row in _rows(column, left[column], found, rule.best)]
    note = (
        f"halving at epochs {', '.join(map(str, rule.rungs))} of {rule.epochs}: the better 1 in {rule.keep} goes on, "
        f"{rule.best} at least; this is rung {number} of {len(rule.rungs) + 1}. For finding the best net: {BIASED}"
    )
    return table("halving", f"The {rule.best} best by halving", rows, note)


def _rows(column: str, nets: Sequence[str], found: _Rung, best: int) -> list[dict[str, Any]]:
    means = found.means(column)
    ranked = survivors(means, len(nets), len(nets)) or nets
    return [
        {"dataset": column, "rank": rank, "architecture": net, "error": means.get(net), "epoch": found.after}
        | {"nets_left": len(nets)}
        for rank, net in enumerate(ranked[:best], 1)
    ]
