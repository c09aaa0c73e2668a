"""Where the seconds of a pack go: each wait for a batch and each block of work is booked to the nets that shared it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from toolkit.training.loader import Batch
from toolkit.training.roster import Roster
from toolkit.training.trial import PackedTrial


def booked_waits(batches: Iterator[Batch], roster: Roster, trials: Sequence[PackedTrial]) -> Iterator[Batch]:
    """The same batches; the wait for each is booked, that for a net's first as its start-up."""
    began = time.perf_counter()
    for batch in batches:
        now = time.perf_counter()
        for trial in roster.still(trials):
            trial.book_wait(began, now)
        yield batch
        began = time.perf_counter()


@contextmanager
def clocked(roster: Roster, trials: Sequence[PackedTrial], what: Literal["compute", "evaluate"]) -> Iterator[None]:
    """Book the block's seconds to those who are left; a GPU's are those until it is next waited for."""
    began = time.perf_counter()
    yield
    for trial in roster.still(trials):
        clock = trial.trainer.clock
        setattr(clock, what, getattr(clock, what) + time.perf_counter() - began)
