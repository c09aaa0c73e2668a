"""Where the seconds of a pack go: each wait for a batch and each block of work is booked to the nets that shared it.

A GPU's are its own seconds: a wait for a batch during which it still had work to do cost nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from toolkit.training.loader import Batch
from toolkit.training.moments import moment
from toolkit.training.roster import Roster
from toolkit.training.trial import PackedTrial


def booked_waits(batches: Iterator[Batch], roster: Roster, trials: Sequence[PackedTrial]) -> Iterator[Batch]:
    """The same batches; the wait for each is booked, that for a net's first as its start-up."""
    device = roster.place.device
    began = moment(device)
    for batch in batches:
        now = moment(device)
        for trial in roster.still(trials):
            trial.book_wait(began, now)
        yield batch
        began = moment(device)


@contextmanager
def clocked(roster: Roster, trials: Sequence[PackedTrial], what: Literal["compute", "evaluate"]) -> Iterator[None]:
    """Book the block's seconds to those who are left."""
    began = moment(roster.place.device)
    yield
    ended = moment(roster.place.device)
    for trial in roster.still(trials):
        trial.book(what, began, ended)
