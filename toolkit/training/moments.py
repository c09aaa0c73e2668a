"""When a device was where in its work, without waiting for it.

A call on a GPU returns when its kernels are queued, so the host's clock times the queueing. An event is put into the
same queue and keeps the device's time of reaching it.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import torch


class Event(Protocol):
    """What is used of `torch.cuda.Event`."""

    def query(self) -> bool:
        """Whether the device has reached it."""

    def synchronize(self) -> None:
        """Wait until it has."""

    def elapsed_time(self, later: "Event") -> float:
        """Milliseconds of the device from here to ``later``; both must have been reached."""


Moment = float | Event
"""A reading of the host's clock, seconds; or a mark in a GPU's queue."""


def moment(device: torch.device) -> Moment:
    """Now, for work on a processor, which is done when its call returns; the end of a GPU's queue."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


class Spans:
    """Blocks of work whose seconds are booked once the device has come to their ends, in the order of their begin."""

    def __init__(self) -> None:
        self._open: deque[tuple[Event, Event, Callable[[float], None]]] = deque()

    def add(self, begin: Moment, end: Moment, book: Callable[[float], None]) -> None:
        """Book the block now where that needs no waiting, and those before it that have become known."""
        if isinstance(begin, float) or isinstance(end, float):
            assert isinstance(begin, float) and isinstance(end, float)
            return book(end - begin)
        self._open.append((begin, end, book))
        while self._open and self._open[0][1].query():
            self._book_first()

    def settle(self) -> None:
        """Wait for the device, and book what is open. Raises what the device raises when it is broken."""
        if self._open:
            self._open[-1][1].synchronize()
        while self._open:
            self._book_first()

    def _book_first(self) -> None:
        begin, end, book = self._open.popleft()
        book(begin.elapsed_time(end) / 1e3)
