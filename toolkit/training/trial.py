"""One task of a pack as the outside sees it: its progress, checkpoints and result."""

import sys
import time
from dataclasses import dataclass, field
from typing import Literal

from toolkit.cli import complain, say
from toolkit.errors import ToolkitError
from toolkit.study.study import Study
from toolkit.study.task import Task
from toolkit.training import checkpoint
from toolkit.training.heartbeat import ProgressState
from toolkit.training.moments import Moment, Spans
from toolkit.training.trainer import Trainer


@dataclass(eq=False)
class PackedTrial:
    """A trainer with its clock running, and where its progress stands."""

    study: Study
    trainer: Trainer
    progress_state: ProgressState
    began: float = field(default_factory=time.perf_counter)
    """When this run of the task began; moved on by `tick`."""
    _waited: bool = False
    _spans: Spans = field(default_factory=Spans)

    def __post_init__(self) -> None:
        self.task = self.trainer.task

    def free(self) -> None:
        """Let go of the net and all that it holds on the device; the trial has left its pack."""
        del self.trainer

    def tick(self) -> None:
        """Book the time since the last tick."""
        now = time.perf_counter()
        self.trainer.clock.total += now - self.began
        self.began = now

    def book_wait(self, began: Moment, now: Moment) -> None:
        """Book the wait for a batch: the first one's, from the task's beginning, is the start-up."""
        if self._waited:
            self.book("data_wait", began, now)
        else:
            self.trainer.clock.startup += time.perf_counter() - self.began
            self._waited = True

    def book(self, what: Literal["data_wait", "compute", "evaluate"], began: Moment, ended: Moment) -> None:
        """Book a block to a clock, when its seconds are known."""
        clock = self.trainer.clock
        self._spans.add(began, ended, lambda seconds: setattr(clock, what, getattr(clock, what) + seconds))

    def settle(self) -> None:
        """Wait until all that was asked of the device is done and booked."""
        self._spans.settle()

    def save(self) -> None:
        """Write a checkpoint. Raises `ToolkitError`."""
        self.settle()
        self.tick()
        if self.trainer.team.is_main:
            checkpoint.save(self.study, self.trainer)

    def try_to_save(self) -> bool:
        """Write a checkpoint; where that fails it is said, and the one before stays."""
        try:
            self.save()
        except ToolkitError as error:
            complain(error)
            return False
        return True

    def keep_weights(self) -> None:
        """Write the final weights; a result is worth more than they are, so a failure is only said."""
        try:
            if self.trainer.team.is_main:
                checkpoint.save_final(self.study, self.trainer)
        except ToolkitError as error:
            complain(error)

    def report_step(self, epoch_began: float, first: int) -> None:
        """Bring the progress up to date within an epoch that began at step ``first``."""
        trainer, progress_state = self.trainer, self.progress_state
        progress_state.step, seconds = trainer.step, time.perf_counter() - epoch_began
        per_step = seconds / (trainer.step - first)
        progress_state.images_per_s = trainer.task.recipe.batch / per_step
        ahead = (progress_state.epochs - trainer.epoch) * trainer.steps - trainer.step
        progress_state.seconds_left = ahead * per_step + (progress_state.epochs - trainer.epoch) * self._evaluation_s()

    def report_epoch(self) -> None:
        """Bring the progress up to date after an evaluation, and say it on stderr."""
        trainer, progress_state = self.trainer, self.progress_state
        progress_state.epoch, progress_state.step = trainer.epoch, trainer.step
        progress_state.error = trainer.evaluations[-1].error(trainer.manifest.metric)
        if not trainer.team.is_main:
            return
        rate = f"{progress_state.images_per_s:.0f} images/s" if progress_state.images_per_s else "resumed"
        note(
            self.task, f"epoch {progress_state.epoch}/{progress_state.epochs}, error {progress_state.error:.2%}, {rate}"
        )

    def _evaluation_s(self) -> float:
        return self.trainer.clock.evaluate / len(self.trainer.evaluations) if self.trainer.evaluations else 0.0


def note(task: Task, text: str) -> None:
    """One line about a task on stderr."""
    say(f"{task.id} {task.architecture} on {task.dataset}: {text}", to=sys.stderr)
