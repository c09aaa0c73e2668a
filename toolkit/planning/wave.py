"""A wave: what is trained until the next look at the results. Rules that stop or cut a study deal in waves."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from toolkit.analysis.table import Table
from toolkit.study import Study, Task
from toolkit.study.model import FrozenModel


@dataclass(frozen=True)
class Wave:
    """What is trained next, and where the study stands."""

    tasks: Mapping[str, Task]
    settled: bool
    """Whether nothing more is wanted; the tasks are those of the last wave then."""
    reached: int
    """Tasks that have come as far as they were to: a wave that leaves this number alone came to nothing."""
    standing: Table
    pause: int | None = None
    """Epochs after which the tasks are saved and left; None: they are trained to the end."""
    decided: Mapping[Path, FrozenModel] = field(default_factory=dict)
    """Decisions that are to be written down before the wave begins."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else a launch's document says."""


class Rule(Protocol):
    """What was decided before the first result."""

    @property
    def goal(self) -> str:
        """What is asked for, in a word."""

    def outlook(self) -> dict[str, Any]:
        """What a dry run says of it."""

    def freeze(self, study: Study, candidates: Collection[str]) -> None:
        """Write the rule into the study, once; raises `UsageError` where another one stands."""

    def wave(self, study: Study, tasks: Mapping[str, Task]) -> Wave:
        """What of ``tasks`` is trained next: a function of the rule and the results alone."""
