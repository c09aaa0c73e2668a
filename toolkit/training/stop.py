"""How a running task is asked to end early, keeping what it has."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGURG)
"""A cancelled job, Ctrl-C, and Slurm's warning before a time limit: USR2 by hand, URG as the launcher asks for it."""


class StopFlag:
    """Set once, by a signal or another thread; training looks at it after every batch."""

    def __init__(self) -> None:
        self.reason: str | None = None

    def __bool__(self) -> bool:
        return self.reason is not None

    def set(self, reason: str) -> None:
        """Ask for an end. The first reason stays."""
        self.reason = self.reason or reason


@contextmanager
def on_signals() -> Iterator[StopFlag]:
    """A flag that `SIGNALS` set while the block runs; the handlers of before come back after it.

    The same signal may come twice (a container hands on what it got itself): that is one request.
    """
    flag = StopFlag()

    def handle(number: int, _: FrameType | None) -> None:
        flag.set(signal.Signals(number).name)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
