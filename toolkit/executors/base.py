"""What every executor does: take elements, and say what that would be."""

from collections.abc import Sequence
from typing import Protocol

from toolkit.study.submission import Submission

Elements = Sequence[tuple[str, ...]]
"""Task ids by what one array element, or a worker, takes at a time."""


class Executor(Protocol):
    """Where tasks get to run."""

    def submit(self, elements: Elements, after: Sequence[str] = ()) -> list[Submission]:
        """Record the elements as submissions, and queue them where there is a queue; the caller holds the study's lock.

        ``after``: jobs that must have ended first.
        """

    def run(self, submission: Submission) -> None:
        """Bring a submission to its end here; an executor with a queue of its own returns at once."""

    def describe(self, elements: Elements) -> dict[str, object]:
        """What `submit` would do, for people; nothing is written."""
