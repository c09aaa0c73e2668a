"""Launching in waves: train what the next look needs, look, and go on with the targets that are still open.

Here the waves follow each other in one process. On Slurm nobody waits: after each wave a small job (the controller)
starts, which is asked for the same: it looks, submits the next wave, and its own successor.
"""

import time
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Any

from toolkit.cluster.queue import job_ids, queue_of
from toolkit.errors import ToolkitError
from toolkit.executors.local import Display
from toolkit.launching.cost import estimate, size_of
from toolkit.launching.notice import notify
from toolkit.launching.reconcile import Plan, carry_out, make_plan, no_display, preview
from toolkit.launching.request import POPULATION, LaunchRequest
from toolkit.launching.rises import RiseRules
from toolkit.planning.controller_job import controllers, submit_controller
from toolkit.planning.goal import parse_goal
from toolkit.planning.halving import best_of, halving_rule
from toolkit.planning.request import WaveRequest
from toolkit.planning.rest import ALL, Rest
from toolkit.planning.stopping import stopping_rule
from toolkit.planning.wave import Rule, Wave
from toolkit.study import Study, find_dataset
from toolkit.study.outcomes import outcomes
from toolkit.study.states import UNFINISHED
from toolkit.study.submission import launch_lock, submissions

STALLED = 3
"""Controllers in a row that saw no new result before the last one gives up. Our choice."""


@dataclass(frozen=True)
class Waves:
    """A launch with ``--until`` or ``--halving``."""

    plan: Plan
    """With all tasks that may be trained."""
    rule: Rule
    request: WaveRequest
    """What it was made from, for the controllers."""

    def next(self) -> Wave:
        """What is trained until the next look."""
        return self.rule.wave(self.plan.study, self.plan.tasks)

    def affordable(self, wave: Wave) -> bool:
        """Whether the hours of a wave are left."""
        if self.request.max_hours is None:
            return True
        plan, tasks = self.plan, list(wave.tasks.values())
        cost = estimate(tasks, lambda name: size_of(find_dataset(name, plan.data).manifest), plan.texts)
        return cost.hours <= self.request.max_hours

    def planned(self, wave: Wave) -> Plan:
        """The launch of one wave."""
        return replace(
            self.plan,
            tasks=wave.tasks,
            manner=self.plan.manner._replace(pause=wave.pause),
            wanted=self.plan.wanted | {"paused"},
        )


def make_waves(request: WaveRequest) -> Waves:
    """Check what is asked for, writing nothing. Raises `UsageError`, also when the tasks cannot be compared."""
    best = best_of(request.goal)
    goal = None if best or request.goal == ALL else parse_goal(request.goal)
    plan = make_plan(request.launch)
    request = replace(request, launch=_frozen(request.launch, plan))
    if request.goal == ALL:
        return Waves(plan, Rest(), request)
    tasks = plan.tasks.values()
    if goal is None:
        return Waves(plan, halving_rule(tasks, best), request)
    return Waves(plan, stopping_rule(tasks, goal, request.first, request.max_nets), request)


def _frozen(launch: LaunchRequest, plan: Plan) -> LaunchRequest:
    """The launch with nets of the user's own by their frozen names: a controller must not read their files again."""
    if not (plan.texts and launch.names_nets):
        return launch
    names = dict.fromkeys(task.architecture for task in plan.tasks.values())
    return replace(launch, array=None, population=POPULATION, models=tuple(names))


def preview_wave(waves: Waves) -> dict[str, Any]:
    """What the next wave would be; nothing is written."""
    return waves.rule.outlook() | preview(waves.planned(waves.next()))


def run_waves(waves: Waves, display: Display, controller: str | None = None) -> dict[str, Any]:
    """Freeze the rule, then train wave after wave here, or submit the next one to Slurm with its controller.

    ``controller``: name of the controller's submission that asks, None for a person.

    Raises `UsageError` when the study was frozen for another rule, `ToolkitError` when waves bring no results.
    """
    study = Study.create(waves.plan.study.path)
    with launch_lock(study):
        waves.rule.freeze(study, waves.plan.tasks)
    failed, before = 0, -1
    while True:
        wave = _decided(waves)
        if not waves.affordable(wave):
            return _document(waves, wave, failed, f"the next wave exceeds {waves.request.max_hours:g} hours")
        if wave.tasks.keys() <= study.finished() and waves.plan.wanted == UNFINISHED:
            if controller or before >= 0:
                notify(study, waves.plan.profile, Counter(outcome.state for outcome in outcomes(study.path).values()))
            return _document(waves, wave, failed, "" if wave.settled else "damaged results: add --retry failed")
        if waves.plan.executor == "slurm":
            return _submit_wave(waves, wave, controller)
        if wave.reached == before:
            raise ToolkitError(
                f"{len(wave.tasks.keys() - study.finished())} tasks of the wave came to no result: see python -m "
                f"toolkit.status {study.path}; the same call goes on"
            )
        before = wave.reached
        failed += carry_out(waves.planned(wave), display)["failed_here"]
        waves = replace(waves, plan=replace(waves.plan, wanted=UNFINISHED))  # what --retry names is tried once


def _decided(waves: Waves) -> Wave:
    """The next wave, with what was decided on the way to it written down."""
    with launch_lock(waves.plan.study):
        wave = waves.next()
        for path, document in wave.decided.items():
            document.write(path)
    return wave


def _submit_wave(waves: Waves, wave: Wave, controller: str | None) -> dict[str, Any]:
    """Submit what the wave lacks, and a controller for when it has ended, unless one waits already."""
    study = waves.plan.study
    known = {submission.name for submission in controllers(study)}
    if controller in known and _stalled(study, waves.plan.rules):
        raise ToolkitError(
            f"{STALLED} controllers saw no new result in study {study.path}: see python -m toolkit.status; the same "
            "call goes on"
        )
    document = carry_out(waves.planned(wave), no_display)
    if waves.request.goal != ALL or document["follows"]:
        _have_followed(waves, known - {controller})
    elif controller in known:
        notify(study, waves.plan.profile, document["states"])
    waiting = sum(task_id not in study.finished() for task_id in wave.tasks)
    return document | _document(waves, wave, 0, f"{waiting} tasks of the wave, in the queue or running")


def _have_followed(waves: Waves, known: Set[str]) -> None:
    """Submit a controller for when the study's arrays have ended, unless one of the ``known`` ones waits already."""
    study = waves.plan.study
    with launch_lock(study):
        queue = queue_of(study) or {}
        if not known & queue.keys():
            arrays = [s for s in submissions(study) if s.elements and s.name in queue]
            submit_controller(study, waves.plan.profile, waves.plan.data, waves.request, job_ids(arrays))


def launch_rest(plan: Plan, request: LaunchRequest) -> None:
    """Have a small job launch what exceeded the submit limit. Raises `ToolkitError` when it is refused."""
    known = {submission.name for submission in controllers(plan.study)}
    _have_followed(Waves(plan, Rest(), WaveRequest(request, ALL)), known)


def _stalled(study: Study, rules: RiseRules) -> bool:
    """Whether `STALLED` controllers, and one for each rise that may follow, were submitted since the newest result or
    decision."""
    files = [*study.room("results").glob("[!.]*.json"), *study.path.glob("rungs/[!.]*.json")]
    allowed = STALLED + rules.on_oom.times + rules.on_timeout.times
    newest = max((path.stat().st_mtime for path in files), default=0.0)
    return sum(newest < submission.created < time.time() for submission in controllers(study)) >= allowed


def _document(waves: Waves, wave: Wave, failed: int, note: str) -> dict[str, Any]:
    study = waves.plan.study
    return {
        "study": str(study.path),
        "until": waves.rule.goal,
        "settled": wave.settled,
        **wave.facts,
        "targets": wave.standing.frame.to_dicts(),
        "how": wave.standing.note,
        "waiting_for": note or None,
        "states": dict(Counter("done" if i in study.finished() else "declared" for i in study.labels())),
        "failed_here": failed,
    }
