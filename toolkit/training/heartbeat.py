"""Progress files, rewritten by a thread of their own: a long step or a long build is no silence."""

import os
import threading
import time
from types import TracebackType
from typing import Literal

from toolkit.cli import complain
from toolkit.errors import ToolkitError
from toolkit.study.progress import HEARTBEAT_S, Progress
from toolkit.study.study import Study
from toolkit.training.meter import Meter
from toolkit.training.provenance import host, job, job_restarts

Phase = Literal["starting", "training", "evaluating", "preempted", "paused"]


class ProgressState:
    """What a task tells of itself; its owner sets the fields, the heartbeat reads them."""

    def __init__(self, task_id: str, epochs: int, restarts: int = 0) -> None:
        self.task_id, self.epochs, self.restarts = task_id, epochs, restarts
        self.phase: Phase = "starting"
        self.epoch = self.step = self.steps = 0
        self.images_per_s: float | None = None
        self.error: float | None = None
        self.seconds_left: float | None = None

    def progress(self) -> Progress:
        """The document to write now."""
        return Progress(
            phase=self.phase,
            epoch=self.epoch,
            epochs=self.epochs,
            step=self.step,
            steps=self.steps,
            images_per_s=self.images_per_s,
            seconds_left=self.seconds_left,
            error=self.error,
            updated=time.time(),
            host=host(),
            pid=os.getpid(),
            job=job(),
            restarts=max(self.restarts, job_restarts()),
        )


class Heartbeat:
    """Writes the progress of the tasks it watches every few seconds, until closed."""

    def __init__(self, study: Study, silent: bool = False) -> None:
        self.study, self.silent = study, silent
        self._watched: dict[str, ProgressState] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._complained = False
        self.meter = Meter()
        """Of the pack that trains; a new pack sets its own."""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()

    def watch(self, progress_state: ProgressState) -> None:
        """Write this task's progress from now on."""
        self._watched[progress_state.task_id] = progress_state
        self.beat(progress_state)

    def release(self, progress_state: ProgressState) -> None:
        """Stop writing it."""
        with self._lock:
            self._watched.pop(progress_state.task_id, None)

    def beat(self, progress_state: ProgressState) -> None:
        """Write now, unless silent. Where that fails it is said once: training is worth more than its progress."""
        if self.silent:
            return
        try:
            with self._lock:
                progress = progress_state.progress().model_copy(update={"usage": self.meter.usage()})
                progress.write(self.study.progress_path(progress_state.task_id))
        except ToolkitError as error:
            if not self._complained:
                complain(error)
            self._complained = True

    def _run(self) -> None:
        while not self._end.wait(HEARTBEAT_S / 2):
            self.meter.sample()
            for progress_state in list(self._watched.values()):
                self.beat(progress_state)
