"""Worker processes that end with their parent, and whose results come in order."""

import ctypes
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

import cv2

from toolkit.errors import ToolkitError

PR_SET_PDEATHSIG = 1
Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


class Workers:
    """A pool of processes; `workers` opens one."""

    def __init__(self, pool: ProcessPoolExecutor, count: int) -> None:
        self._pool, self.count = pool, count

    def in_order(self, function: Callable[[Task], Outcome], tasks: Iterable[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Each task with its outcome, in the order of the tasks.

        Two tasks a worker are under way at a time, so that memory does not grow with their number. Raises
        `ToolkitError` when a worker dies.
        """
        under_way: deque[tuple[Task, Future[Outcome]]] = deque()
        for task in tasks:
            under_way.append((task, self._pool.submit(function, task)))
            if len(under_way) > 2 * self.count:
                yield _finished(*under_way.popleft())
        while under_way:
            yield _finished(*under_way.popleft())


def available_cores() -> int:
    """Cores this process may use (a Slurm allocation's, not the node's)."""
    return len(os.sched_getaffinity(0))


@contextmanager
def workers(count: int) -> Iterator[Workers]:
    """``count`` processes that die with this one, whatever kills it."""
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("fork"), _begin, (os.getpid(),))
    try:
        pool.submit(int).result()  # forks them all now, before this process has threads of its own
        yield Workers(pool, count)
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(parent: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _finished(task: Task, future: Future[Outcome]) -> tuple[Task, Outcome]:
    try:
        return task, future.result()
    except BrokenProcessPool as error:
        raise ToolkitError(
            f"a worker process died (out of memory?) at or soon after {task}; try fewer --workers"
        ) from error
