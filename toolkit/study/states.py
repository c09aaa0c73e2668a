"""The state of every task of a study: its result, else the queue, else its heartbeat."""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, get_args

from toolkit.files import uncollected
from toolkit.study.outcomes import Outcome, outcomes
from toolkit.study.progress import LOST_AFTER_S, Progress
from toolkit.study.study import Study
from toolkit.study.submission import Submission, launcher_lives, process_lives, submissions

State = Literal[
    "done", "failed", "diverged", "damaged", "running", "finishing", "queued", "preempted", "paused", "lost", "waiting"
]
"""damaged: results/ID.json is no result; finishing: its job ended well a moment ago, and the result is not to be seen
yet; preempted: saved and not in the queue; paused: trained up to a rung of ``--halving`` and saved; lost: submitted and
gone without a word; waiting: never submitted, or cancelled."""
STATES: tuple[State, ...] = get_args(State)
UNFINISHED: frozenset[State] = frozenset({"waiting", "preempted", "lost"})
"""What a launch submits without being told to retry anything."""

LOCAL = "local"
COMPLETED = "COMPLETED"
"""Slurm's state of an element that ended well: each of its tasks has a result. One that is not to be seen yet is late,
for a file system may remember a folder as it was, and nobody must do it again."""

Queue = Mapping[str, Mapping[int, str]]
"""Slurm's state (``PENDING``, ``RUNNING``...) by submission and array index, of the jobs that are in the queue, and of
those that left it as `COMPLETED` a moment ago. A reason that a person has to look at stands behind it: ``PENDING
(JobHeldUser)``."""


class TaskState(NamedTuple):
    """What is known of one task."""

    state: State
    reason: str = ""
    """Why it failed or diverged, why its result cannot be read, or what it waits for; one line."""
    progress: Progress | None = None
    """The heartbeat of a running, preempted or lost task."""
    submission: str | None = None
    """Name of its last submission."""
    element: int | None = None
    """Its array index there."""
    held: bool = False
    """Whether its executor will still run it: nobody else must."""
    host: str = ""
    """Where it ran, as far as it said."""
    seconds: float = 0.0
    """Of a finished task: what it took."""
    gpu_s: float = 0.0
    """GPU seconds of it."""


NEVER = TaskState("waiting")
"""Of what was never submitted."""


@uncollected()
def task_states(
    study: Study,
    queue: Queue | None,
    ids: Iterable[str] | None = None,
    finished: Mapping[str, Outcome] | None = None,
) -> dict[str, TaskState]:
    """The state of each of ``ids`` (None: of all declared tasks), by id.

    ``queue`` None: it could not be asked; what was given to it counts as queued then. ``finished``: the study's
    `outcomes`, if they were read already, later than the queue.

    Costs one directory listing, one small read per result (the first time it is seen) and per task in flight.
    """
    now = study.clock()
    places = _places(study, queue, now)
    beating = _beating(study)
    finished = outcomes(study.path) if finished is None else finished
    return {
        task_id: _finished(finished[task_id], places.get(task_id))
        if task_id in finished
        else _unfinished(study, task_id, places.get(task_id), task_id in beating, now)
        for task_id in (study.labels() if ids is None else ids)
    }


def _beating(study: Study) -> set[str]:
    """Ids of the tasks that have a heartbeat, of whatever age."""
    folder = study.room("progress")
    return {entry.name[:-5] for entry in os.scandir(folder)} if folder.is_dir() else set()


class _Place(NamedTuple):
    """Where a task was last submitted, and whether anyone will still run it."""

    submission: str
    element: int
    active: str
    """Slurm's state or `LOCAL`; empty: nobody will."""
    created: float
    cancelled: bool


def _places(study: Study, queue: Queue | None, now: float) -> dict[str, _Place]:
    return {
        task_id: place
        for submission in submissions(study)
        for place, element in _elements(study, submission, queue, now)
        for task_id in element
    }


def _elements(
    study: Study, submission: Submission, queue: Queue | None, now: float
) -> Iterator[tuple[_Place, tuple[str, ...]]]:
    if submission.executor == "slurm":
        active = _slurm_elements(submission, queue, now)
    else:
        lives = launcher_lives(study, submission)
        active = dict.fromkeys(range(len(submission.elements)), LOCAL if lives else "")
    for index, element in enumerate(submission.elements):
        place = _Place(submission.name, index, active.get(index, ""), submission.created, submission.cancelled)
        yield place, element


def _slurm_elements(submission: Submission, queue: Queue | None, now: float) -> Mapping[int, str]:
    being_submitted = submission.job is None and now - submission.created < LOST_AFTER_S
    if submission.cancelled:
        return {}
    if queue is None or (being_submitted and submission.name not in queue):
        return dict.fromkeys(range(len(submission.elements)), "UNKNOWN")
    return queue.get(submission.name, {})


def _finished(outcome: Outcome, place: _Place | None) -> TaskState:
    state, reason, host, seconds, gpu_s = outcome
    submission, element = (place.submission, place.element) if place else (None, None)
    return TaskState(state, reason, None, submission, element, False, host, seconds, gpu_s)


def _unfinished(study: Study, task_id: str, place: _Place | None, beating: bool, now: float) -> TaskState:
    if place is None:
        return NEVER
    beat = study.last_beat(task_id) if beating else 0.0
    progress = study.progress(task_id) if beat else None
    state, reason = _state(place, progress, beat, now)
    held = bool(place.active) and state != "paused" and not (state == "lost" and place.active == LOCAL)
    host = progress.host if progress else ""
    return TaskState(state, reason, progress, place.submission, place.element, held, host)


def _state(place: _Place, progress: Progress | None, beat: float, now: float) -> tuple[State, str]:
    if progress and progress.phase == "paused" and beat > place.created:
        return "paused", f"after epoch {progress.epoch} of {progress.epochs}"
    if place.active == COMPLETED:
        return "finishing", "its job ended well; the file system does not show its result yet"
    saved = progress is not None and progress.phase in ("preempted", "paused")
    if progress and not saved and now - beat < LOST_AFTER_S and not _is_dead(progress):
        return "running", ""
    fell_silent = progress and not saved and beat > place.created
    if place.active and not (fell_silent and place.active in (LOCAL, "RUNNING")):
        state, _, why = place.active.partition(" ")
        return "queued", "" if state in (LOCAL, "RUNNING") else f"{state.lower()} {why}".rstrip()
    if progress and progress.phase == "preempted":
        return "preempted", f"saved in epoch {progress.epoch + 1} of {progress.epochs}"
    if progress and progress.phase == "paused":
        return "paused", f"after epoch {progress.epoch} of {progress.epochs}"
    if place.cancelled and not progress:
        return "waiting", "cancelled"
    return "lost", _last_seen(progress, now - beat)


def _is_dead(progress: Progress) -> bool:
    return progress.host == socket.gethostname() and not process_lives(progress.pid)


def _last_seen(progress: Progress | None, age: float) -> str:
    if progress is None:
        return "left the queue without a heartbeat"
    return f"no heartbeat from process {progress.pid} on {progress.host} for {age:.0f} s"
