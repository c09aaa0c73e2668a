"""A look at a study: its tasks, their states, and what the queue could not tell."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from toolkit.cluster.accounting import Endings
from toolkit.cluster.brake import FOLDER, strikes
from toolkit.cluster.queue import queue_of
from toolkit.errors import ToolkitError
from toolkit.launching.endings import ending, how_ended
from toolkit.names import unknown
from toolkit.study import Study
from toolkit.study.declared import Label, several_seeds
from toolkit.study.outcomes import outcomes
from toolkit.study.ranges import format_names, format_ranges
from toolkit.study.states import STATES, State, TaskState, task_states
from toolkit.study.submission import submissions

TROUBLE = ("failed", "diverged", "damaged", "lost")


@dataclass(frozen=True)
class StudySnapshot:
    """What was known at one moment."""

    study: Study
    tasks: Mapping[str, Label]
    states: Mapping[str, TaskState]
    warning: str = ""
    """Why the queue could not be read; what was submitted counts as queued then."""
    endings: Endings = field(default_factory=dict)
    """What Slurm's accounting said of jobs whose tasks were lost."""
    undeclared: int = 0
    """Results of tasks that the study does not declare: the declarations were lost, or the results are copies."""

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
            queue = queue_of(study, lately=True)
            if queue is None:
                warning = "no squeue here: what was submitted to Slurm and has no result counts as queued"
        except ToolkitError as error:
            queue, warning = None, f"{error}; what was submitted counts as queued"
        labels = study.labels()
        finished = outcomes(study.path)
        states = task_states(study, queue, labels, finished)
        known = how_ended(study, states, known)
        return cls(study, labels, _told(states, known), warning, known, len(finished.keys() - labels.keys()))

    @property
    def in_flight(self) -> bool:
        """Whether anything is queued or running."""
        return any(state.held or state.state == "running" for state in self.states.values())

    def trouble(self) -> dict[str, TaskState]:
        """Tasks that failed, diverged or got lost."""
        return {task_id: state for task_id, state in self.states.items() if state.state in TROUBLE}

    def seconds_left(self) -> float | None:
        """Until all that is not finished has run, so many at a time as run now; None: nothing runs, or nothing ended.

        A running task tells it itself, another one is taken for the mean of those that ended on its dataset.
        """
        running = [s for s in self.states.values() if s.state == "running"]
        seen: dict[str, list[float]] = defaultdict(list)
        for task_id, state in self.states.items():
            if state.seconds:
                seen[self.tasks[task_id].column].append(state.seconds)
        every = [seconds for of_column in seen.values() for seconds in of_column]
        if not running or not every:
            return None
        means = {column: sum(seconds) / len(seconds) for column, seconds in seen.items()}
        usual = sum(every) / len(every)
        told = {i: s.progress.seconds_left for i, s in self.states.items() if s.state == "running" and s.progress}
        ahead = [
            means.get(self.tasks[i].column, usual) if (left := told.get(i)) is None else left
            for i, state in self.states.items()
            if state.state in ("running", "queued", "preempted", "lost", "waiting")
        ]
        return max(sum(ahead) / len(running), *(left or 0.0 for left in told.values()), 0.0)

    def by_node(self) -> dict[str, int]:
        """Tasks that failed or got lost by the node they ran on, where that is known; the worst first."""
        ended = {end: node for node, ends in strikes(self.study.path / FOLDER).items() for end in ends}
        jobs = {s.name: s.job for s in submissions(self.study) if s.job} if ended else {}
        hosts = (
            state.host or ended.get((jobs.get(state.submission or "", ""), state.element or 0), "")
            for state in self.trouble().values()
            if state.state in ("failed", "lost")
        )
        return dict(Counter(filter(None, hosts)).most_common())

    def stuck(self) -> dict[str, int]:
        """Tasks whose jobs wait for more than their turn, counted by Slurm's state and reason."""
        return dict(Counter(s.reason for s in self.states.values() if s.state == "queued" and "(" in s.reason))

    def listed(self, wanted: Sequence[str]) -> list[str]:
        """A line for each task in one of the ``wanted`` states (none given: all). Raises `UsageError` for no state."""
        for name in wanted:
            if name not in STATES:
                raise unknown("state", name, STATES)
        seeds = several_seeds(self.tasks.values())
        return [
            f"{task_id} {self.states[task_id].state:9} {label.named(seeds)}"
            for task_id, label in self.tasks.items()
            if not wanted or self.states[task_id].state in wanted
        ]

    def ids(self) -> dict[State, list[str]]:
        """Ids of the tasks by their state."""
        found: dict[State, list[str]] = defaultdict(list)
        for task_id, state in self.states.items():
            found[state.state].append(task_id)
        return dict(found)

    def ranges(self) -> list[tuple[str, State, str, str]]:
        """Rows (dataset column, state, group, members), whatever the seed; members as ranges, such as ``0-7,12``."""
        members: dict[tuple[str, State, str], list[str]] = defaultdict(list)
        for task_id, task in self.tasks.items():
            group, _, member = task.architecture.partition("/")
            members[task.column, self.states[task_id].state, group].append(member)
        return [(*key, format_names(names)) for key, names in members.items()]

    def ranges_by_seed(self, but: State | None = None) -> list[tuple[str, State, str, str, str]]:
        """Rows (dataset column, state, group, members, seeds); members and seeds as ranges, such as ``0-7,12``.

        Members of a group that stand alike with the same seeds are one row. ``but``: a state that is left out.
        """
        seeds: dict[tuple[str, State, str], dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        for task_id, task in self.tasks.items():
            if (state := self.states[task_id].state) != but:
                group, _, member = task.architecture.partition("/")
                seeds[task.column, state, group][member].add(task.seed)
        rows: list[tuple[str, State, str, str, str]] = []
        for key, members in seeds.items():
            alike: dict[str, list[str]] = defaultdict(list)
            for member, own in members.items():
                alike[format_ranges(own)].append(member)
            rows += [(*key, format_names(names), shown) for shown, names in alike.items()]
        return rows

    def document(self) -> dict[str, Any]:
        """The JSON document of ``status --json``."""
        columns = ("dataset", "state", "group", "members", "seeds")
        return {
            "study": str(self.study.path),
            "tasks": len(self.tasks),
            "states": dict(Counter(state.state for state in self.states.values())),
            "ids": self.ids(),
            "ranges": [dict(zip(columns, row, strict=False)) for row in self.ranges()],
            "ranges_by_seed": [dict(zip(columns, row, strict=True)) for row in self.ranges_by_seed()],
            "running": {
                task_id: state.progress.model_dump()
                for task_id, state in self.states.items()
                if state.state == "running" and state.progress
            },
            "trouble": [
                {"id": i, "architecture": self.tasks[i].architecture, "dataset": self.tasks[i].column}
                | {"seed": self.tasks[i].seed, "state": state.state, "reason": state.reason}
                for i, state in self.trouble().items()
            ],
            "trouble_by_node": self.by_node(),
            "stuck": self.stuck(),
            "undeclared": self.undeclared,
            "seconds_left": self.seconds_left(),
            "warning": self.warning or None,
        }


def _told(states: Mapping[str, TaskState], known: Endings) -> dict[str, TaskState]:
    """The states, with Slurm's own word in the reason of lost tasks."""
    words = {i: told for i, state in states.items() if state.state == "lost" and (told := ending(state, known))}
    lost = ((i, states[i], told) for i, told in words.items())
    return {**states, **{i: state._replace(reason=f"{state.reason}; Slurm: {told}") for i, state, told in lost}}
