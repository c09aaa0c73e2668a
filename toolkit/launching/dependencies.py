"""Tasks that start from what the same architecture learnt on another dataset."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from toolkit.errors import UsageError
from toolkit.study import Study, Task
from toolkit.study.ranges import format_members
from toolkit.study.states import TaskState
from toolkit.study.task import Start


def started_from(tasks: Sequence[Task], study: Study, source: str) -> list[Task]:
    """``tasks``, each with the start from dataset ``source``: same architecture and seed, declared in this study.

    Raises `UsageError` that names what the study does not train there, or more than once.
    """
    sources: dict[tuple[str, int], list[str]] = {}
    for task_id, task in study.tasks().items():
        if task.dataset == source and task.start is None:
            sources.setdefault((task.architecture, task.seed), []).append(task_id)
    found = [_trained(study, sources.get((task.architecture, task.seed), [])) for task in tasks]
    if missing := [task for task, ids in zip(tasks, found, strict=True) if not ids]:
        named = format_members(task.architecture for task in missing)
        raise UsageError(f"--init-from {source}: study {study.path} has no task there of {named}: launch them first")
    if doubled := [ids for ids in found if len(ids) > 1]:
        raise UsageError(f"--init-from {source}: tasks {' and '.join(doubled[0])} both train it; use a study for each")
    starts = (Start(task=ids[0], dataset=source) for ids in found)
    return [
        Task.model_validate({**task.model_dump(), "start": start}) for task, start in zip(tasks, starts, strict=True)
    ]


def _trained(study: Study, task_ids: list[str]) -> list[str]:
    """Those that have final weights, where there are any."""
    return [task_id for task_id in task_ids if study.has_final(task_id)] or task_ids


class DependencyStages(NamedTuple):
    """What can be run at once, and what only when that and some jobs of the queue have ended."""

    first: dict[str, Task]
    second: dict[str, Task]
    after: set[str]
    """Submissions in the queue that train what ``second`` starts from."""


def in_stages(
    study: Study, tasks: Mapping[str, Task], states: Mapping[str, TaskState], queued: Collection[str]
) -> DependencyStages:
    """``tasks`` by whether the weights they start from are there. ``queued``: submissions that can be waited for.

    Raises `UsageError` that names the starts that are neither there, nor among ``tasks``, nor in the queue.
    """
    stages, missing = DependencyStages({}, {}, set()), []
    for task_id, task in tasks.items():
        if task.start is None or task.start.weights or study.has_final(task.start.task):
            stages.first[task_id] = task
            continue
        source = states.get(task.start.task)
        if task.start.task in tasks:
            stages.second[task_id] = task
        elif source and source.held and source.submission and source.submission in queued:
            stages.second[task_id] = task
            stages.after.add(source.submission)
        else:
            missing.append((task, source.state if source else "unknown"))
    if missing:
        raise UsageError(_missing(study, missing))
    return stages


def _missing(study: Study, missing: Sequence[tuple[Task, str]]) -> str:
    """What has no weights to start from, and why."""
    named = format_members(task.architecture for task, _ in missing)
    datasets = ", ".join(sorted({task.start.dataset for task, _ in missing if task.start}))
    states = ", ".join(f"{count} {state}" for state, count in Counter(state for _, state in missing).items())
    return (
        f"no final weights on {datasets} in study {study.path} of {named} ({states}): train them there first "
        f"(launch --study ... --dataset {datasets}), or leave them out"
    )
