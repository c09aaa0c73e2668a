"""More memory or time for tasks whose job ended for want of it, up to a bound: ``--on-oom``, ``--on-timeout``."""

import logging
import re
from collections import Counter
from collections.abc import Mapping
from math import ceil
from typing import NamedTuple

from toolkit.cluster.profile import Profile
from toolkit.errors import UsageError
from toolkit.launching.endings import MEMORY, TIME, ending, how_ended
from toolkit.study import Study
from toolkit.study.states import TaskState
from toolkit.study.submission import Rises, submissions

log = logging.getLogger(__name__)


class Rise(NamedTuple):
    """``1.5x2``: times 1.5, at most twice."""

    factor: float
    times: int

    @classmethod
    def parse(cls, text: str | None, option: str) -> "Rise":
        """What an option says; None: no rise. Raises `UsageError`."""
        if text is None:
            return cls(1.0, 0)
        found = re.fullmatch(r"(\d+(?:\.\d+)?)x(\d)", text)
        if not found or not 1 < float(found[1]) <= 10 or found[2] == "0":
            raise UsageError(f"{option} {text!r}: write FACTORxTIMES, such as 1.5x2: times 1.5, at most twice")
        return cls(float(found[1]), int(found[2]))

    def of(self, amount: float, rises: int) -> float:
        """``amount`` after so many rises; a rise beyond those that are allowed now is not taken back."""
        return amount * self.factor**rises


class RiseRules(NamedTuple):
    """What a launch answers to jobs that ended for want of memory or time."""

    on_oom: Rise
    on_timeout: Rise

    @classmethod
    def parse(cls, on_oom: str | None, on_timeout: str | None, profile: Profile) -> "RiseRules":
        """The rules of a launch. Raises `UsageError`, also where there is no memory to multiply."""
        rules = cls(Rise.parse(on_oom, "--on-oom"), Rise.parse(on_timeout, "--on-timeout"))
        if rules.on_oom.times and profile.memory_gb is None:
            raise UsageError("--on-oom multiplies memory_gb, and the profile has none: say there what a task gets")
        return rules

    def __bool__(self) -> bool:
        """Whether anything rises."""
        return bool(self.on_oom.times or self.on_timeout.times)

    def raised(self, profile: Profile, rises: Rises) -> Profile:
        """The profile of tasks that have had these rises."""
        memory = profile.memory_gb and self.on_oom.of(profile.memory_gb, rises.oom)
        time_min = ceil(self.on_timeout.of(profile.time_min, rises.timeout))
        return profile.model_copy(update={"memory_gb": memory, "time_min": time_min})

    def next(self, study: Study, states: Mapping[str, TaskState]) -> dict[str, Rises | None]:
        """The rises with which each task of ``states`` runs next; None: it has had all that are allowed.

        What a task had last it keeps, whatever ended it; only an end for want of memory or time adds to it.
        """
        if not self:
            return {}
        known, had = how_ended(study, states, {}), {s.name: s.rises for s in submissions(study)}
        found = {
            task_id: self._after(had.get(state.submission or "", Rises()), ending(state, known), state)
            for task_id, state in states.items()
        }
        _tell(found)
        return found

    def _after(self, had: Rises, ended: str, state: TaskState) -> Rises | None:
        if state.state != "lost":
            return had
        if ended.startswith(MEMORY) and self.on_oom.times:
            return had._replace(oom=had.oom + 1) if had.oom < self.on_oom.times else None
        if ended.startswith(TIME) and self.on_timeout.times:
            return had._replace(timeout=had.timeout + 1) if had.timeout < self.on_timeout.times else None
        return had


def _tell(found: Mapping[str, Rises | None]) -> None:
    """Say how many tasks get more, and how many are given up."""
    for rises, count in sorted(Counter(r for r in found.values() if r).items()):
        if any(rises):
            log.info("%d tasks after %d rises of memory and %d of time", count, *rises)
    if given_up := sum(rises is None for rises in found.values()):
        log.info("%d tasks have had all rises that --on-oom and --on-timeout allow: left out", given_up)
