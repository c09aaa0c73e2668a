"""One task of a pack as the outside sees it: its progress, checkpoints and result."""

import sys
import time
from dataclasses import dataclass, field

from toolkit.cli import complain
from toolkit.engine import checkpoint
from toolkit.engine.heartbeat import Where
from toolkit.engine.learner import Learner
from toolkit.errors import ToolkitError
from toolkit.study.study import Study
from toolkit.study.task import Task


@dataclass(eq=False)
class Member:
    """A learner with its clock running, and where its progress stands."""

    study: Study
    learner: Learner
    where: Where
    began: float = field(default_factory=time.perf_counter)
    """When this run of the task began; moved on by `tick`."""
    _waited: bool = False

    @property
    def task(self) -> Task:
        """What it trains."""
        return self.learner.task

    def tick(self) -> None:
        """Book the time since the last tick."""
        now = time.perf_counter()
        self.learner.clock.total += now - self.began
        self.began = now

    def book_wait(self, began: float, now: float) -> None:
        """Book the wait for a batch: the first one's, from the task's beginning, is the start-up."""
        clock = self.learner.clock
        if self._waited:
            clock.data_wait += now - began
        else:
            clock.startup += now - self.began
            self._waited = True

    def save(self) -> None:
        """Write a checkpoint. Raises `ToolkitError`."""
        self.tick()
        if self.learner.team.leads:
            checkpoint.save(self.study, self.learner)

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
            if self.learner.team.leads:
                checkpoint.save_final(self.study, self.learner)
        except ToolkitError as error:
            complain(error)

    def report_step(self, epoch_began: float, first: int) -> None:
        """Bring the progress up to date within an epoch that began at step ``first``."""
        learner, where = self.learner, self.where
        where.step, seconds = learner.step, time.perf_counter() - epoch_began
        per_step = seconds / (learner.step - first)
        where.images_per_s = learner.task.recipe.batch / per_step
        ahead = (where.epochs - learner.epoch) * learner.steps - learner.step
        where.seconds_left = ahead * per_step + (where.epochs - learner.epoch) * self._evaluation_s()

    def report_epoch(self) -> None:
        """Bring the progress up to date after an evaluation, and say it on stderr."""
        learner, where = self.learner, self.where
        where.epoch, where.step = learner.epoch, learner.step
        where.error = learner.evaluations[-1].error(learner.manifest.metric)
        rate = f"{where.images_per_s:.0f} images/s" if where.images_per_s else "resumed"
        note(self.task, f"epoch {where.epoch}/{where.epochs}, error {where.error:.2%}, {rate}")

    def _evaluation_s(self) -> float:
        return self.learner.clock.evaluate / len(self.learner.evaluations) if self.learner.evaluations else 0.0


def note(task: Task, text: str) -> None:
    """One line about a task on stderr."""
    print(f"{task.id} {task.architecture} on {task.dataset}: {text}", file=sys.stderr, flush=True)
