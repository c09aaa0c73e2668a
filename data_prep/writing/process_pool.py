"""Worker processes that end with their parent, and whose results come in order."""

import ctypes
import multiprocessing
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import cv2

from toolkit.errors import ToolkitError

Argument = TypeVar("Argument")
Outcome = TypeVar("Outcome")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of GNU's malloc.h
BUSY, AHEAD = 2, 2
"""Calls that wait at one worker, and tasks a worker of which the outcome is not yielded yet: this bounds memory."""


class _Worker:
    """A process, the pipe to it, and the calls it has not answered yet, oldest first."""

    def __init__(self, context: BaseContext) -> None:
        self.pipe, theirs = context.Pipe()
        process: BaseProcess = context.Process(target=_serve, args=(theirs,), daemon=True)  # type: ignore[attr-defined]
        process.start()
        theirs.close()
        self.process, self.calls = process, deque[tuple[Any, Future[Any]]]()

    def call(self, function: Callable[[Argument], Outcome], argument: Argument) -> "Future[Outcome]":
        """Have ``function`` called there, after all that was asked for before."""
        self.calls.append((argument, Future()))
        try:
            self.pipe.send((function, argument))
        except OSError as error:
            raise self._died() from error
        return self.calls[-1][1]

    def answer(self) -> None:
        """Take the answer to the oldest call. Raises what was raised there, and `ToolkitError` when the worker died."""
        try:
            outcome = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        future = self.calls.popleft()[1]
        if isinstance(outcome, BaseException):
            raise outcome
        future.set_result(outcome)

    def _died(self) -> ToolkitError:
        task = next((argument for argument, _ in self.calls), "its start")
        return ToolkitError(f"a worker process died (out of memory?) at or soon after {task}; try fewer --workers")


class Workers:
    """Processes that are handed tasks; `workers` starts them."""

    def __init__(self, processes: Sequence[_Worker]) -> None:
        self._workers, self._last = processes, processes[0]

    def __len__(self) -> int:
        return len(self._workers)

    def in_order(
        self, function: Callable[[Argument], Outcome], tasks: Iterable[Argument]
    ) -> Iterator[tuple[Argument, Outcome]]:
        """Each task with its outcome, in the order of the tasks.

        The next tasks are under way meanwhile, so many that memory does not grow with their number. Raises
        `ToolkitError` when a worker dies.
        """
        under_way: deque[tuple[Argument, _Worker, Future[Outcome]]] = deque()
        for task in tasks:
            while len(under_way) >= AHEAD * len(self._workers) or self._are_busy():
                yield from self._finished(under_way)
            worker = min(self._workers, key=lambda worker: len(worker.calls))
            under_way.append((task, worker, worker.call(function, task)))
        while under_way or any(worker.calls for worker in self._workers):
            yield from self._finished(under_way)

    def follow_up(self, function: Callable[[Argument], None], argument: Argument) -> None:
        """Have ``function`` called in the worker whose outcome was yielded last; what it raises comes out later."""
        self._last.call(function, argument)

    def _finished(
        self, under_way: "deque[tuple[Argument, _Worker, Future[Outcome]]]"
    ) -> Iterator[tuple[Argument, Outcome]]:
        pipes = {worker.pipe: worker for worker in self._workers if worker.calls}
        for pipe in wait(list(pipes)):
            pipes[pipe].answer()  # type: ignore[index]
        while under_way and under_way[0][2].done():
            task, self._last, outcome = under_way.popleft()
            yield task, outcome.result()

    def _are_busy(self) -> bool:
        return all(len(worker.calls) >= BUSY for worker in self._workers)


def available_cores() -> int:
    """Cores this process may use (a Slurm allocation's, not the node's)."""
    return len(os.sched_getaffinity(0))


@contextmanager
def workers(count: int) -> Iterator[Workers]:
    """``count`` processes that end with this one, whatever kills it.

    They are forked from a clean server process, not from this one: locks that the threads of OpenCV or torch hold here
    would stay locked in a copy for ever.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["data_prep.writing.preload"])
    processes: list[_Worker] = []
    try:
        processes += (_Worker(context) for _ in range(count))
        yield Workers(processes)
    finally:
        for worker in processes:
            worker.pipe.close()  # it ends when it sees this, whatever it is doing
        for worker in processes:
            worker.process.join()


def in_threads(
    function: Callable[[Argument], Outcome], tasks: Iterable[Argument], count: int
) -> Iterator[tuple[Argument, Outcome]]:
    """Each task with its outcome, in order, from ``count`` threads: for work that disks or compiled code do."""
    under_way: deque[tuple[Argument, Future[Outcome]]] = deque()
    with ThreadPoolExecutor(count) as pool:
        for task in tasks:
            under_way.append((task, pool.submit(function, task)))
            if len(under_way) > 2 * count:
                task, outcome = under_way.popleft()
                yield task, outcome.result()
        for task, outcome in under_way:
            yield task, outcome.result()


def _serve(pipe: Connection) -> None:
    """A worker's life: calls are taken in by a thread, so that no sender ever waits for a worker that is sending."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    _keep_memory()
    calls: queue.SimpleQueue[tuple[Callable[[Any], Any], Any]] = queue.SimpleQueue()
    threading.Thread(target=_take_in, args=(pipe, calls), daemon=True).start()
    while True:
        function, argument = calls.get()
        try:
            outcome = function(argument)
        except Exception as error:
            outcome = error
        pipe.send(outcome)


def _keep_memory() -> None:
    """Have the C library keep up to half a GB that is freed: the next image needs it, and to fetch it takes 15 us."""
    with suppress(AttributeError):  # a C library other than GNU's
        ctypes.CDLL(None).mallopt(M_TRIM_THRESHOLD, 1 << 29)
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 25)


def _take_in(pipe: Connection, calls: "queue.SimpleQueue[Any]") -> None:
    """Pass on calls until the other end is closed or gone; then the process ends, wherever it is."""
    while True:
        try:
            calls.put(pipe.recv())
        except (EOFError, OSError):
            os._exit(0)
