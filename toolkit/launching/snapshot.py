"""A look at a study: its tasks, their states, and what the queue could not tell."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from toolkit.cluster.accounting import Endings, endings
from toolkit.cluster.queue import queue_of
from toolkit.errors import ToolkitError
from toolkit.study import Study, Task
from toolkit.study.ranges import format_names
from toolkit.study.states import State, TaskState, task_states
from toolkit.study.submission import Submission, submissions

TROUBLE = ("failed", "diverged", "damaged", "lost")


@dataclass(frozen=True)
class StudySnapshot:
    """What was known at one moment."""

    study: Study
    tasks: Mapping[str, Task]
    states: Mapping[str, TaskState]
    warning: str = ""
    """Why the queue could not be read; what was submitted counts as queued then."""
    endings: Endings = field(default_factory=dict)
    """What Slurm's accounting said of jobs whose tasks were lost."""

    @classmethod
    def of(cls, path: str) -> Self:
        """Look at the study at ``path``. Raises `UsageError` when it is none."""
        return cls._look(Study.open(path), {})

    def again(self) -> Self:
        """The same study, now."""
        return self._look(self.study, self.endings)

    @classmethod
    def _look(cls, study: Study, known: Endings) -> Self:
        warning = ""
        try:
            queue = queue_of(study)
            if queue is None:
                warning = "no squeue here: what was submitted to Slurm and has no result counts as queued"
        except ToolkitError as error:
            queue, warning = None, f"{error}; what was submitted counts as queued"
        states = task_states(study, queue)
        known = {**known, **endings(_untold(study, states, known))}
        return cls(study, study.tasks(), _told(states, known), warning, known)

    @property
    def in_flight(self) -> bool:
        """Whether anything is queued or running."""
        return any(state.held or state.state == "running" for state in self.states.values())

    def trouble(self) -> dict[str, TaskState]:
        """Tasks that failed, diverged or got lost."""
        return {task_id: state for task_id, state in self.states.items() if state.state in TROUBLE}

    def stuck(self) -> dict[str, int]:
        """Tasks whose jobs wait for more than their turn, counted by Slurm's state and reason."""
        return dict(Counter(s.reason for s in self.states.values() if s.state == "queued" and "(" in s.reason))

    def ranges(self) -> list[tuple[str, State, str, str]]:
        """(dataset column, state, group, members) for each group of architectures; members such as ``0-7,12``."""
        members: dict[tuple[str, State, str], list[str]] = defaultdict(list)
        for task_id, task in self.tasks.items():
            group, _, member = task.architecture.partition("/")
            members[task.column, self.states[task_id].state, group].append(member)
        return [(*key, format_names(names)) for key, names in members.items()]

    def document(self) -> dict[str, Any]:
        """The JSON document of ``status --json``."""
        return {
            "study": str(self.study.path),
            "tasks": len(self.tasks),
            "states": dict(Counter(state.state for state in self.states.values())),
            "ranges": [dict(zip(("dataset", "state", "group", "members"), row, strict=True)) for row in self.ranges()],
            "running": {
                task_id: state.progress.model_dump()
                for task_id, state in self.states.items()
                if state.state == "running" and state.progress
            },
            "trouble": [
                {"id": i, "architecture": self.tasks[i].architecture, "dataset": self.tasks[i].column}
                | {"state": state.state, "reason": state.reason}
                for i, state in self.trouble().items()
            ],
            "stuck": self.stuck(),
            "warning": self.warning or None,
        }


def _untold(study: Study, states: Mapping[str, TaskState], known: Endings) -> list[Submission]:
    """Slurm submissions that lost a task and of which it is not known how."""
    lost = {s.submission for s in states.values() if s.state == "lost" and not s.held and not _ending(s, known)}
    return [s for s in submissions(study) if s.executor == "slurm" and s.name in lost] if lost else []


def _told(states: Mapping[str, TaskState], known: Endings) -> dict[str, TaskState]:
    """The states, with Slurm's own word in the reason of lost tasks."""
    return {
        task_id: replace(state, reason=f"{state.reason}; Slurm: {ending}")
        if state.state == "lost" and (ending := _ending(state, known))
        else state
        for task_id, state in states.items()
    }


def _ending(state: TaskState, known: Endings) -> str:
    return known.get(state.submission or "", {}).get(state.element or 0, "")
