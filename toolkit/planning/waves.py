"""Launching in waves: train what the next look needs, look, and go on with the targets that are still open.

Here the waves follow each other in one process. On Slurm nobody waits: after each wave a small job (the controller)
starts, which is asked for the same: it looks, submits the next wave, and its own successor.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from toolkit.cluster.queue import job_ids, queue_of
from toolkit.errors import ToolkitError
from toolkit.executors.local import Display
from toolkit.launching.cost import estimate, size_of
from toolkit.launching.reconcile import Plan, carry_out, make_plan, no_display, preview
from toolkit.launching.request import LaunchRequest
from toolkit.planning.controller import controllers, submit_controller
from toolkit.planning.goal import parse_goal
from toolkit.planning.request import WaveRequest
from toolkit.planning.stopping import Progress, StoppingRule, freeze, progress, standings_table, stopping_rule, wanted
from toolkit.study import Study, Task, find_dataset
from toolkit.study.states import UNFINISHED
from toolkit.study.submission import launch_lock, submissions

STALLED = 3
"""Controllers in a row that saw no new result before the last one gives up. Our choice."""


@dataclass(frozen=True)
class Waves:
    """A launch with ``--until``."""

    plan: Plan
    """With all tasks that may be trained."""
    rule: StoppingRule
    request: WaveRequest
    """What it was made from, for the controllers."""

    def next(self) -> tuple[Progress, dict[str, Task], bool]:
        """Where the targets stand, the tasks wanted until the next look, and whether their hours are left."""
        study = self.plan.study
        found = progress(study, self.rule) if study.room("tasks").is_dir() else _nothing(self.rule)
        tasks = wanted(self.rule, found.needs, self.plan.tasks)
        return found, tasks, self.request.max_hours is None or self._hours(tasks) <= self.request.max_hours

    def _hours(self, tasks: Mapping[str, Task]) -> float:
        plan = self.plan
        return estimate(
            list(tasks.values()), lambda name: size_of(find_dataset(name, plan.data).manifest), plan.texts
        ).hours


def make_waves(request: WaveRequest) -> Waves:
    """Check what is asked for, writing nothing. Raises `UsageError`, also when the tasks cannot be compared."""
    goal, plan = parse_goal(request.goal), make_plan(request.launch)
    rule = stopping_rule(plan.tasks.values(), goal, request.first, request.max_nets)
    return Waves(plan, rule, replace(request, launch=_frozen(request.launch, plan)))


def _frozen(launch: LaunchRequest, plan: Plan) -> LaunchRequest:
    """The launch with nets of the user's own by their frozen names: a controller must not read their files again."""
    if not (plan.texts and (launch.array or launch.models)):
        return launch
    names = dict.fromkeys(task.architecture for task in plan.tasks.values())
    return replace(launch, array=None, models=tuple(names))


def _nothing(rule: StoppingRule) -> Progress:
    return Progress(dict.fromkeys(rule.targets), dict.fromkeys((rule.reference, *rule.targets), rule.looks[0]))


def preview_wave(waves: Waves) -> dict[str, Any]:
    """What the next wave would be; nothing is written."""
    _, tasks, _ = waves.next()
    return {"until": waves.rule.goal, "looks": list(waves.rule.looks)} | preview(replace(waves.plan, tasks=tasks))


def run_waves(waves: Waves, display: Display, controller: str | None = None) -> dict[str, Any]:
    """Freeze the rule, then train wave after wave here, or submit the next one to Slurm with its controller.

    ``controller``: name of the controller's submission that asks, None for a person.

    Raises `UsageError` when the study was frozen for another rule, `ToolkitError` when waves bring no results.
    """
    study = Study.create(waves.plan.study.path)
    with launch_lock(study):
        freeze(study, waves.rule, waves.plan.tasks)
    plan, failed, before = waves.plan, 0, -1
    while True:
        found, tasks, affordable = waves.next()
        finished = study.finished()
        if not affordable:
            return _document(waves, found, failed, f"the next wave exceeds {waves.request.max_hours:g} hours")
        if tasks.keys() <= finished and plan.wanted == UNFINISHED:
            return _document(waves, found, failed, "" if found.settled else "damaged results: add --retry failed")
        if plan.executor == "slurm":
            return _submit_wave(waves, found, tasks, controller)
        if len(finished) == before:
            raise ToolkitError(
                f"{len(tasks.keys() - finished)} tasks of the wave came to no result: see python -m toolkit.status "
                f"{study.path}; the same call goes on"
            )
        before = len(finished)
        failed += carry_out(replace(plan, tasks=tasks), display)["failed_here"]
        plan = replace(plan, wanted=UNFINISHED)  # what --retry names is tried once


def _submit_wave(waves: Waves, found: Progress, tasks: Mapping[str, Task], controller: str | None) -> dict[str, Any]:
    """Submit what the wave lacks, and a controller for when it has ended, unless one waits already."""
    study = waves.plan.study
    known = {submission.name for submission in controllers(study)}
    if controller in known and _stalled(study):
        raise ToolkitError(
            f"{STALLED} controllers saw no new result in study {study.path}: see python -m toolkit.status; the same "
            "call goes on"
        )
    document = carry_out(replace(waves.plan, tasks=dict(tasks)), no_display)
    with launch_lock(study):
        queue = queue_of(study) or {}
        if not (known - {controller}) & queue.keys():
            arrays = [s for s in submissions(study) if s.elements and s.name in queue]
            submit_controller(study, waves.plan.profile, waves.plan.data, waves.request, job_ids(arrays))
    waiting = sum(task_id not in study.finished() for task_id in tasks)
    return document | _document(waves, found, 0, f"{waiting} tasks of the wave, in the queue or running")


def _stalled(study: Study) -> bool:
    """Whether `STALLED` controllers were submitted since the newest result."""
    newest = max((path.stat().st_mtime for path in study.room("results").glob("[!.]*.json")), default=0.0)
    return sum(newest < submission.created < time.time() for submission in controllers(study)) >= STALLED


def _document(waves: Waves, found: Progress, failed: int, note: str) -> dict[str, Any]:
    study = waves.plan.study
    item = standings_table(waves.rule, found)
    return {
        "study": str(study.path),
        "until": waves.rule.goal,
        "settled": found.settled,
        "nets": dict(found.needs),
        "of": waves.rule.looks[-1],
        "targets": item.frame.to_dicts(),
        "how": item.note,
        "waiting_for": note or None,
        "states": dict(Counter("done" if i in study.finished() else "declared" for i in study.tasks())),
        "failed_here": failed,
    }
