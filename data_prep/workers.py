"""Worker processes that end with their parent, and whose results come in order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

import cv2

from toolkit.errors import ToolkitError

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


class Workers:
    """A pool of processes or threads; `workers` and `threads` open one."""

    def __init__(self, pool: Executor, count: int) -> None:
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
    """``count`` processes that end with this one, whatever kills it.

    They are forked from a clean server process, not from this one: locks that the threads of OpenCV or torch hold here
    would stay locked in a copy for ever.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["data_prep.writer"])
    pool = ProcessPoolExecutor(count, context, _begin)
    try:
        yield Workers(pool, count)
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def threads(count: int) -> Iterator[Workers]:
    """``count`` threads, for work that waits for disks or computes digests."""
    with ThreadPoolExecutor(count) as pool:
        yield Workers(pool, count)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _finished(task: Task, future: Future[Outcome]) -> tuple[Task, Outcome]:
    try:
        return task, future.result()
    except BrokenProcessPool as error:
        raise ToolkitError(
            f"a worker process died (out of memory?) at or soon after {task}; try fewer --workers"
        ) from error
