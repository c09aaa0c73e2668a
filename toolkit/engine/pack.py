"""K nets, one loader: every batch is decoded, augmented and moved once and seen by all of them.

The nets of a pack share dataset, recipe, seed and input size, hence the order of the batches and every crop; each has
its own optimizer, schedule, checkpoint, progress and result, and what befalls one ends that one alone.
"""

import errno
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from toolkit.cli import complain
from toolkit.engine import checkpoint
from toolkit.engine.device import Feed, describe
from toolkit.engine.heartbeat import Heartbeat, Phase, Where
from toolkit.engine.learner import Diverged, Learner
from toolkit.engine.loader import Batch, Loader
from toolkit.engine.member import Member, note
from toolkit.engine.record import failed_result, failure_of, result_of
from toolkit.engine.stop import StopFlag
from toolkit.engine.team import Team
from toolkit.errors import ToolkitError
from toolkit.study.dataset import Manifest
from toolkit.study.result import Result, Status
from toolkit.study.study import Study
from toolkit.study.task import Task

SAVE_EVERY_S = 300.0
"""Within a long epoch a checkpoint is written this often (seconds); every epoch ends with one anyway."""


class Stopped(Exception):
    """The flag is up: leave the loops."""


class Unwritable(ToolkitError):
    """A result has no place to go: the run cannot do its work."""


class Interrupted(ToolkitError):
    """What a task stands on went away under it: no failure of the task, which goes on from its last checkpoint."""


@dataclass(frozen=True)
class Place:
    """What packs on one dataset work with."""

    study: Study
    manifest: Manifest
    train: Loader
    val: Loader
    team: Team
    stop: StopFlag
    heartbeat: Heartbeat

    @property
    def device(self) -> torch.device:
        """Where the nets compute."""
        return self.team.device


@dataclass
class Pack:
    """One run of some tasks side by side; what became of each stands in its fields afterwards."""

    place: Place
    tasks: Sequence[Task]
    alive: list[Member] = field(default_factory=list)
    postponed: list[Task] = field(default_factory=list)
    """Tasks that found no memory beside the others: they can be run again in a smaller pack."""
    preempted: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Train, evaluate and record every task, or leave checkpoints when stopped.

        Raises `Unwritable`, or `Interrupted`.
        """
        self._started = time.time()
        self._saved = time.perf_counter()
        self._feed = Feed(self.place.manifest, self.place.device)
        for task in self.tasks:
            self._admit(task)
        try:
            while self.alive:
                self._epoch(min(member.learner.epoch for member in self.alive))
        except Stopped:
            self._preempt()
        except Unwritable:
            raise
        except Exception as error:  # the loader's: no net of the pack can go on
            for member in self._alive():
                self._end(member, "failed", error)
        finally:
            for member in self.alive:
                self.place.heartbeat.release(member.where)

    def _admit(self, task: Task) -> None:
        """Build a net, or go on from its checkpoint. What goes wrong is this task's own failure."""
        place, where = self.place, Where(task.id, task.recipe.epochs)
        place.heartbeat.watch(where)
        began = time.perf_counter()
        try:
            learner = Learner(task, place.manifest, place.train.steps(task.recipe.batch), place.team)
            if not checkpoint.resume(place.study, learner) and task.start:
                checkpoint.start_from(place.study, learner, task.start)
        except Exception as error:
            place.heartbeat.release(where)
            self._never_began(task, error)
            return
        where.restarts, where.steps = learner.resumes, learner.steps
        self.alive.append(Member(place.study, learner, where, began))

    def _epoch(self, epoch: int) -> None:
        """Train and evaluate those who are at ``epoch``; a resumed net that is further on waits for them."""
        began = time.perf_counter()
        self._train(epoch, [m for m in self.alive if m.learner.epoch == epoch])
        here = [m for m in self.alive if m.learner.epoch == epoch]
        self._evaluate(here)
        for member in here:
            with self._alone(member):
                member.learner.finish_epoch(time.perf_counter() - began)
                member.report_epoch()
                if member.learner.finished:
                    self._finish(member)
                else:
                    member.try_to_save()

    def _train(self, epoch: int, here: list[Member]) -> None:
        self._phase(here, "training")
        first = min(m.learner.step for m in here)
        task, side = here[0].task, here[0].learner.side(epoch)
        began = time.perf_counter()
        batches = self.place.train.train(task.recipe, task.seed, epoch, side, first, self.place.team.share)
        for batch in self._timed(batches, here):
            images, labels = self._feed(batch)
            for member in self._alive(here):
                if member.learner.step == batch.step:
                    with self._alone(member), _clocked([member], "compute"):
                        member.learner.train_batch(images, labels)
                        member.report_step(began, first)
            self._save_at_times()
            if not self._alive(here):
                break

    def _evaluate(self, here: list[Member]) -> None:
        if not here:
            return
        self._phase(here, "evaluating")
        recipe = here[0].task.recipe
        side = here[0].learner.architecture.input_size(recipe.resolution_at_evaluation)
        for member in here:
            member.learner.start_evaluation()
        with _clocked(here, "evaluate"):
            batches = self.place.val.evaluate(recipe.batch, side, recipe.eval_crop_ratio, self.place.team.share)
            for batch in batches:
                if self.place.team.size == 1 and self.place.stop:  # members of a team may have unequal shares
                    raise Stopped
                images, labels = self._feed(batch)
                for member in self._alive(here):
                    with self._alone(member):
                        member.learner.evaluate_batch(images, labels)

    def _finish(self, member: Member) -> None:
        member.learner.check_learned()
        member.keep_weights()
        self._end(member, "done", None)

    @contextmanager
    def _alone(self, member: Member) -> Iterator[None]:
        """What goes wrong in the block ends this member and no other."""
        try:
            yield
        except Unwritable:
            raise
        except Diverged as error:
            self._end(member, "diverged", error)
        except Exception as error:
            if _no_memory(error):
                self._leave(member)
                self._never_began(member.task, error)
            else:
                self._end(member, "failed", error)

    def _never_began(self, task: Task, error: Exception) -> None:
        """Record a failure; but a task without memory beside others waits for a smaller pack."""
        self._check_ground(error)
        if _no_memory(error) and self.alive:
            torch.cuda.empty_cache()
            complain(f"task {task.id} ({task.architecture}) found no memory beside {len(self.alive)} others: later")
            self.postponed.append(task)
        else:
            device = describe(self.place.device)
            self._record(failed_result(task, self.place.manifest, error, device=device, started=self._started))

    def _end(self, member: Member, status: Status, error: Exception | None) -> None:
        if error and status == "failed":
            self._check_ground(error)
        member.tick()
        self._leave(member)
        failure = failure_of(error) if error else None
        device, pack = describe(self.place.device), len(self.tasks)
        self._record(result_of(member.learner, status, failure, device=device, pack=pack, started=self._started))
        if status != "failed":  # a failure may pass, and then the task goes on from here
            checkpoint.drop(self.place.study, member.task.id)

    def _check_ground(self, error: Exception) -> None:
        """Raise `Interrupted` when the error comes with a request to stop, or from files of an image that is gone.

        The signal that asks a task to stop also ends the process that serves a mounted image (squashfuse).
        """
        if self.place.stop or os.strerror(errno.ENOTCONN) in str(error):
            raise Interrupted(f"interrupted ({error}): it goes on from its last checkpoint") from error

    def _record(self, result: Result) -> None:
        if not self.place.team.leads:
            return
        path = self.place.study.result_path(result.id)
        if path.exists():  # Slurm gave the task to another node, for it thought this one dead
            note(result.task, "has its result already: another run of it came first")
            return
        try:
            result.write(path)
        except ToolkitError as error:
            raise Unwritable(str(error)) from error
        outcome = result.failure.message if result.failure else f"error {result.error:.2%}"
        note(result.task, f"{result.status}, {outcome}")

    def _leave(self, member: Member) -> None:
        self.alive.remove(member)
        self.place.heartbeat.release(member.where)

    def _preempt(self) -> None:
        for member in self.alive:
            member.where.phase = "preempted"
            kept = "checkpoint kept" if member.try_to_save() else "the checkpoint before is kept"
            self.place.heartbeat.beat(member.where)
            self.preempted.append(member.task.id)
            note(member.task, f"stopped by {self.place.stop.reason} at epoch {member.learner.epoch}, {kept}")

    def _save_at_times(self) -> None:
        if time.perf_counter() - self._saved > SAVE_EVERY_S:
            for member in self.alive:
                member.try_to_save()
            self._saved = time.perf_counter()

    def _alive(self, among: Sequence[Member] | None = None) -> list[Member]:
        return [member for member in (self.alive if among is None else among) if member in self.alive]

    def _phase(self, members: list[Member], phase: Phase) -> None:
        for member in members:
            member.where.phase = phase
            member.where.epoch, member.where.step = member.learner.epoch, member.learner.step
            self.place.heartbeat.beat(member.where)

    def _timed(self, batches: Iterator[Batch], here: list[Member]) -> Iterator[Batch]:
        """The same batches, until stopped; the wait for each is booked, that for a net's first as its start-up."""
        began = time.perf_counter()
        for batch in batches:
            if self.place.team.any(self.place.stop):
                raise Stopped
            now = time.perf_counter()
            for member in self._alive(here):
                member.book_wait(began, now)
            yield batch
            began = time.perf_counter()


def _no_memory(error: Exception) -> bool:
    """A GPU's error has a class of its own; the CPU's allocator tells in words alone."""
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


@contextmanager
def _clocked(members: list[Member], what: str) -> Iterator[None]:
    """Book the block's seconds; a GPU's are those until it is next waited for."""
    began = time.perf_counter()
    yield
    for member in members:
        clock = member.learner.clock
        setattr(clock, what, getattr(clock, what) + time.perf_counter() - began)
