"""Which tasks are submitted first: those that a report misses most, and no more than a budget of GPU hours allows."""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from toolkit.cluster.profile import Profile
from toolkit.study.dataset import USUAL_REFERENCE
from toolkit.study.declared import Label
from toolkit.study.states import TaskState

log = logging.getLogger(__name__)


def by_need(tasks: Mapping[str, str], declared: Mapping[str, Label], states: Mapping[str, TaskState]) -> list[str]:
    """``tasks`` (ids by column) by what a report needs most: the reference, then the least complete dataset first.

    The reference is `USUAL_REFERENCE`, else the dataset that was declared first. Within a dataset the order stays.
    """
    of = {task_id: label.column for task_id, label in declared.items()} | dict(tasks)
    total = Counter(of.values())
    done = Counter(of[i] for i, s in states.items() if i in of and s.state in ("done", "diverged"))
    columns = list(dict.fromkeys(of.values()))
    reference = USUAL_REFERENCE if USUAL_REFERENCE in total else columns[0] if columns else ""
    place = {column: (column != reference, done[column] / total[column], i) for i, column in enumerate(columns)}
    return sorted(tasks, key=lambda task_id: place[tasks[task_id]])


class Budget(NamedTuple):
    """How many GPU hours a study may take, all its launches together."""

    hours: float
    profile: Profile
    per_element: int
    """Tasks that share an element."""

    def allowed(
        self, tasks: Mapping[str, str], columns: Mapping[str, str], states: Mapping[str, TaskState]
    ) -> list[str]:
        """The first of ``tasks`` (ids by column) for which there are hours left; what is left out is said.

        ``columns``: of all declared tasks. A task is expected to take what those of its dataset took in the mean;
        before any has ended, its share of an element's time limit. One element is tried even where that is too much.
        """
        expected = self._expected(columns, states)
        spent = sum(state.gpu_s for state in states.values()) / 3600
        flying = sum(
            expected[columns[i]] for i, s in states.items() if (s.held or s.state == "running") and i in columns
        )
        left, taken = self.hours - spent - flying, list[str]()
        for task_id, column in tasks.items():
            left -= expected[column]
            if left < 0 and (spent or flying or len(taken) >= self.per_element):
                break
            taken.append(task_id)
        if beyond := len(tasks) - len(taken):
            log.info(
                "budget of %g GPU hours: %.2f used, %.2f expected of what runs or waits; %d tasks left out",
                self.hours, spent, flying, beyond,
            )  # fmt: skip
        return taken

    def _expected(self, columns: Mapping[str, str], states: Mapping[str, TaskState]) -> Mapping[str, float]:
        """GPU hours of a task by its column."""
        seen: dict[str, list[float]] = defaultdict(list)
        for task_id, state in states.items():
            if state.gpu_s and task_id in columns:
                seen[columns[task_id]].append(state.gpu_s / 3600)
        every = [hours for of_column in seen.values() for hours in of_column]
        limit = self.profile.gpu_count * self.profile.time_min / 60 / self.per_element
        usual = sum(every) / len(every) if every else limit
        return defaultdict(lambda: usual, {column: sum(hours) / len(hours) for column, hours in seen.items()})
