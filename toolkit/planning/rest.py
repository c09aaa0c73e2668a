"""What exceeded a user's submit limit: a small job at the end of the arrays launches the rest, until all is done."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.analysis.table import table
from toolkit.planning.wave import Wave
from toolkit.study import Study, Task

ALL = "all"
"""Such a launch's goal, as `toolkit.planning.request.WaveRequest` says it."""


@dataclass(frozen=True)
class Rest:
    """The rule that wants all tasks."""

    goal: str = ALL

    def outlook(self) -> dict[str, Any]:
        """Nothing that a launch's preview lacks."""
        return {}

    def freeze(self, study: Study, candidates: Collection[str]) -> None:
        """There is nothing to decide before."""

    def wave(self, study: Study, tasks: Mapping[str, Task]) -> Wave:
        """All tasks; those with a result are not run again."""
        finished = study.finished() & tasks.keys()
        rows = [{"tasks": len(tasks), "with_result": len(finished)}]
        return Wave(tasks, len(finished) == len(tasks), len(finished), table("rest", "All tasks", rows, ""))
