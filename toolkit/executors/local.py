"""Local executor: a bounded pool of warm worker processes on this machine."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Protocol

from toolkit.cluster.container import HOST, Container
from toolkit.errors import ToolkitError
from toolkit.executors.base import Elements
from toolkit.executors.gpus import gpus
from toolkit.files import open_own, read_end
from toolkit.study import Study
from toolkit.study.progress import HEARTBEAT_S
from toolkit.study.submission import Manner, Submission, new_submission, record_path

WORKER_MEMORY_GB = 2.0
"""What a worker on the CPU may need: imports 0.6 GB, pictures and activations the rest (our choice)."""
STOP_GRACE_S = 60.0
"""Time for the workers to save their tasks after Ctrl-C."""


class Watcher(Protocol):
    """Someone who is told, twice a second, which tasks are in flight."""

    def update(self, in_flight: Sequence[str]) -> None:
        """Take note of the ids of the tasks in flight."""


Display = Callable[[Study, int], AbstractContextManager[Watcher]]
"""Makes a watcher for a study of so many tasks."""


def default_jobs() -> int:
    """Workers for this machine: one a GPU; without GPUs one a core, as far as the memory goes."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return len(gpus()) or max(1, min(len(os.sched_getaffinity(0)), int(memory_gb / WORKER_MEMORY_GB)))


@dataclass(frozen=True)
class LocalExecutor:
    """A pool of worker processes on this machine."""

    study: Study
    data: Path
    manner: Manner
    jobs: int
    """Workers at a time."""
    display: Display
    container: Container = HOST
    image: str | None = None

    def submit(self, elements: Elements, after: Sequence[str] = ()) -> list[Submission]:
        """Record the elements."""
        submission = new_submission(self.study, "local", elements, self.data, self.manner, self.image)
        submission.write(record_path(self.study, submission))
        return [submission]

    def describe(self, elements: Elements) -> dict[str, object]:
        """Nothing that the summary lacks."""
        return {}

    def run(self, submission: Submission) -> None:
        """Run all elements of the submission.

        A worker that dies leaves its task lost; the pool goes on with a fresh one. Ctrl-C (or SIGTERM, or a closed
        terminal) lets the running tasks save themselves and raises `KeyboardInterrupt`; results that are there stay,
        and what had not begun waits for the next launch. Raises `ToolkitError` when a worker cannot even start.
        """
        pool = _Pool(self.study, submission, min(self.jobs, len(submission.elements)), self.container)
        try:
            with _terminated_as_interrupted(), self.display(self.study, len(submission.tasks)) as watcher:
                pool.run(watcher)
        except KeyboardInterrupt:
            submission.model_copy(update={"cancelled": True}).write(record_path(self.study, submission))
            raise


class _Worker:
    """One worker process and the pipe to it."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        try:
            descriptor = open_own(log, os.O_WRONLY | os.O_APPEND)
        except OSError as error:
            raise ToolkitError(f"{log} cannot be written ({error.strerror}); if it is a link, remove it") from error
        with os.fdopen(descriptor, "ab") as file:
            self.process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                start_new_session=True,  # Ctrl-C reaches the launcher alone, which asks the workers to stop
            )

    def answer(self) -> str:
        """The worker's next line; empty when it is dead."""
        return _pipe(self.process.stdout).readline().strip()

    def work(self, element: Sequence[str]) -> bool:
        """Have it train these tasks; False when it died over them."""
        try:
            _pipe(self.process.stdin).write(json.dumps(element) + "\n")
            _pipe(self.process.stdin).flush()
        except BrokenPipeError:
            return False
        return bool(self.answer())

    def signal(self, number: signal.Signals) -> None:
        """Signal the worker and, in a container, what runs it."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def close(self) -> None:
        """End of input: the worker exits when it has nothing left to do."""
        _pipe(self.process.stdin).close()
        self.process.wait()
        _pipe(self.process.stdout).close()


@dataclass
class _Pool:
    study: Study
    submission: Submission
    jobs: int
    container: Container
    waiting: deque[Sequence[str]] = field(init=False)
    running: dict[int, Sequence[str]] = field(default_factory=dict)
    workers: dict[int, _Worker] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    returned: set[frozenset[str]] = field(default_factory=set)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.waiting = deque(self.submission.elements)

    def run(self, watcher: Watcher) -> None:
        with ThreadPoolExecutor(self.jobs) as threads:
            slots = [threads.submit(self._serve, slot) for slot in range(self.jobs)]
            try:
                self._watch(slots, watcher)
            except BaseException:
                self._stop(slots)
                raise
        for slot in slots:
            slot.result()

    def _watch(self, slots: Sequence["Future[None]"], watcher: Watcher) -> None:
        beaten = 0.0
        pending = set(slots)
        while pending:
            finished, pending = wait(pending, timeout=0.5)
            for slot in finished:
                slot.result()
            watcher.update([task_id for element in list(self.running.values()) for task_id in element])
            if time.monotonic() - beaten > HEARTBEAT_S:
                os.utime(record_path(self.study, self.submission))
                beaten = time.monotonic()

    def _serve(self, slot: int) -> None:
        """One thread feeds one worker, and replaces it when it dies."""
        while (element := self._take(slot)) is not None:
            worker = self.workers.get(slot) or self._start(slot)
            if not worker.work(element):
                self._give_back(element, worker)
                self._close(slot)
        self._close(slot)

    def _take(self, slot: int) -> Sequence[str] | None:
        with self.lock:
            element = self.waiting.popleft() if self.waiting else None
            self.running[slot] = element or ()
            return element

    def _start(self, slot: int) -> _Worker:
        threads = max(1, len(os.sched_getaffinity(0)) // self.jobs)
        arguments = [str(record_path(self.study, self.submission).absolute()), str(threads)]
        log = self.study.room("logs") / f"{self.submission.name}.worker{slot}.log"
        with self.lock:
            python = [*self.container.prefix, "python"] if self.container.prefix else [sys.executable]
            command = [*python, "-u", "-m", "toolkit.executors.worker", *arguments]
            worker = self.workers[slot] = _Worker(command, self._environment(slot, threads), log)
        if worker.answer() != "ready" and not self.stopping:
            raise ToolkitError(f"a worker did not start: {_last_line(log)} (all of it: {log})")
        return worker

    def _environment(self, slot: int, threads: int) -> dict[str, str]:
        devices = gpus()
        own = {"CUDA_VISIBLE_DEVICES": devices[slot % len(devices)]} if devices else {}
        threading = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
        return self.container.variables({**os.environ, **threading, **own})

    def _give_back(self, element: Sequence[str], worker: _Worker) -> None:
        """Put back what a dead worker had not begun or has saved; the task that it died over stays lost.

        Where that is the whole element (a device broke under a pack), it comes back once: the next worker may die too.
        """
        finished = self.study.finished()
        untouched = [t for t in element if t not in finished and not self._begun(t, worker.process.pid)]
        again = len(untouched) < len(element) or frozenset(element) not in self.returned
        if not self.stopping and untouched and again:
            self.returned.add(frozenset(untouched))
            self.waiting.append(untouched)

    def _begun(self, task_id: str, pid: int) -> bool:
        progress = self.study.progress(task_id)
        return progress is not None and progress.pid == pid and progress.phase not in ("preempted", "paused")

    def _close(self, slot: int) -> None:
        if worker := self.workers.pop(slot, None):
            worker.close()

    def _stop(self, slots: Sequence["Future[None]"]) -> None:
        """Ask all workers to save and end; those that do not within the grace time are killed."""
        with self.lock:
            self.stopping = True
            self.waiting.clear()
            for worker in self.workers.values():
                worker.signal(signal.SIGTERM)
        try:
            wait(slots, timeout=STOP_GRACE_S)
        finally:
            for worker in list(self.workers.values()):
                worker.signal(signal.SIGKILL)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, and the SIGHUP of a closed terminal, end a local run as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _last_line(log: Path) -> str:
    lines = read_end(log, 1 << 20).decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
