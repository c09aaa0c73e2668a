"""What a launch hands over: which tasks, in which order, with which memory and time."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from toolkit.executors.base import Elements
from toolkit.launching.dependencies import DependencyStages, in_stages
from toolkit.launching.priorities import Budget, by_need
from toolkit.launching.rises import RiseRules
from toolkit.study import Study, Task
from toolkit.study.declared import Label
from toolkit.study.states import TaskState
from toolkit.study.submission import Rises


class Work(NamedTuple):
    """Tasks that are to be run."""

    stages: DependencyStages
    rises: Mapping[str, Rises]
    """Of the tasks that have had some."""
    beyond_budget: int = 0
    """Tasks for which there are no hours now."""

    @property
    def tasks(self) -> dict[str, Task]:
        """Those of both stages."""
        return self.stages.first | self.stages.second

    def by_rises(self, elements: Elements) -> list[tuple[Rises, list[tuple[str, ...]]]]:
        """The elements by what their memory and time are raised by: an array has one profile."""

        def needed(element: Sequence[str]) -> Rises:
            had = [self.rises.get(task_id, Rises()) for task_id in element]
            return Rises(max(r.oom for r in had), max(r.timeout for r in had))

        return [(rises, list(group)) for rises, group in groupby(sorted(elements, key=needed), needed)]


def find_work(
    study: Study,
    ready: Mapping[str, Task],
    states: Mapping[str, TaskState],
    declared: Mapping[str, Label],
    queued: Sequence[str],
    rules: RiseRules,
    budget: Budget | None,
) -> Work:
    """Of the ``ready`` tasks those that may rise no more, and those beyond the budget, are left out.

    ``queued``: submissions that can be waited for.
    """
    if not ready:
        return Work(DependencyStages({}, {}, set()), {})
    rises = rules.next(study, {task_id: states[task_id] for task_id in ready if task_id in states})
    columns = {i: task.column for i, task in ready.items() if rises.get(i, Rises()) is not None}
    order = by_need(columns, declared, states)
    if budget:
        known = {i: label.column for i, label in declared.items()} | columns
        order = budget.allowed({i: columns[i] for i in order}, known, states)
    stages = in_stages(study, {i: ready[i] for i in order}, states, queued)
    return Work(stages, {i: r for i, r in rises.items() if r and any(r)}, len(columns) - len(order))
