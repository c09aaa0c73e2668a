"""K nets, one loader: every batch is decoded, augmented and moved once and seen by all of them.

The nets of a pack share dataset, recipe, seed and input size, hence the order of the batches and every crop; each has
its own optimizer, schedule, checkpoint, progress and result, and what befalls one ends that one alone.
"""

import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from toolkit.cli import complain
from toolkit.errors import ToolkitError
from toolkit.study.dataset import Manifest
from toolkit.study.result import Result, Status
from toolkit.study.study import Study
from toolkit.study.task import Task
from toolkit.training import checkpoint
from toolkit.training.device import DeviceTransfer, describe
from toolkit.training.failures import (
    Interrupted,
    RankFailed,
    Stopped,
    Unwritable,
    device_lost,
    image_gone,
    no_memory,
    partner_lost,
)
from toolkit.training.heartbeat import Heartbeat, Phase, ProgressState
from toolkit.training.loader import Batch, Loader
from toolkit.training.process_group import ProcessGroup
from toolkit.training.record import failed_result, failure_of, result_of
from toolkit.training.stop import StopFlag
from toolkit.training.trainer import Diverged, Trainer
from toolkit.training.trial import PackedTrial, note

PATIENCE_S = 300.0
"""How long a result that cannot be written is tried again (seconds; our choice)."""
SAVE_EVERY_S = 300.0
"""Within a long epoch a checkpoint is written this often (seconds); every epoch ends with one anyway."""


@dataclass(frozen=True)
class PackContext:
    """What packs on one dataset work with."""

    study: Study
    manifest: Manifest
    train: Loader
    val: Loader
    team: ProcessGroup
    stop: StopFlag
    heartbeat: Heartbeat
    pause: int | None = None
    """Epochs after which a task is saved and left."""

    @property
    def device(self) -> torch.device:
        """Where the nets compute."""
        return self.team.device


@dataclass
class Pack:
    """One run of some tasks side by side; what became of each stands in its fields afterwards."""

    place: PackContext
    tasks: Sequence[Task]
    alive: list[PackedTrial] = field(default_factory=list)
    postponed: list[Task] = field(default_factory=list)
    """Tasks that found no memory beside the others: they can be run again in a smaller pack."""
    preempted: list[str] = field(default_factory=list)
    _device_lost: bool = False

    def run(self) -> None:
        """Train, evaluate and record every task, or leave checkpoints when stopped.

        Raises `Unwritable`, or `Interrupted`.
        """
        self._started = time.time()
        self._saved = time.perf_counter()
        self._feed = DeviceTransfer(self.place.manifest, self.place.device)
        try:
            for task in self.tasks:
                self._start_trial(task)
            while self.alive:
                self._epoch(min(trial.trainer.epoch for trial in self.alive))
        except Stopped:
            self._preempt()
        except (Unwritable, Interrupted, RankFailed):
            raise
        except Exception as error:  # the loader's, or the device's: no net of the pack can go on
            self._fail_all(error)
        finally:
            for trial in self.alive:
                self.place.heartbeat.release(trial.progress_state)

    def _fail_all(self, error: Exception) -> None:
        """No net can go on. Where the device broke and one of several is to blame, none is: all are interrupted."""
        self._check_ranks(error)
        if not device_lost(error) or len(self.alive) == 1:
            for trial in self._alive():
                self._end(trial, "failed", error)
            self._check_rank_fails(error)
        if device_lost(error):
            self._lose_device(error)
            self._preempt()

    def _start_trial(self, task: Task) -> None:
        """Build a net, or go on from its checkpoint. What goes wrong is this task's own failure."""
        place, progress_state = self.place, ProgressState(task.id, task.recipe.epochs)
        place.heartbeat.watch(progress_state)
        began = time.perf_counter()
        try:
            trainer = Trainer(task, place.manifest, place.train.steps(task.recipe.batch), place.team)
            if not checkpoint.resume(place.study, trainer) and task.start:
                checkpoint.start_from(place.study, trainer, task.start)
        except Exception as error:
            place.heartbeat.release(progress_state)
            self._never_began(task, error)
            self._check_device(error)
            return
        progress_state.restarts, progress_state.steps = trainer.resumes, trainer.steps
        trial = PackedTrial(place.study, trainer, progress_state, began)
        self.alive.append(trial)
        if self._is_to_pause(trial):
            self._pause(trial)

    def _epoch(self, epoch: int) -> None:
        """Train and evaluate those who are at ``epoch``; a resumed net that is further on waits for them."""
        began = time.perf_counter()
        self._train(epoch, [m for m in self.alive if m.trainer.epoch == epoch])
        here = [m for m in self.alive if m.trainer.epoch == epoch]
        self._evaluate(here)
        for trial in here:
            with self._isolate_failures(trial):
                trial.trainer.finish_epoch(time.perf_counter() - began)
                trial.report_epoch()
                if trial.trainer.finished:
                    self._finish(trial)
                elif self._is_to_pause(trial):
                    self._pause(trial)
                else:
                    trial.try_to_save()

    def _train(self, epoch: int, here: list[PackedTrial]) -> None:
        self._phase(here, "training")
        first = min(m.trainer.step for m in here)
        task, side = here[0].task, here[0].trainer.side(epoch)
        began = time.perf_counter()
        batches = self.place.train.train(task.recipe, task.seed, epoch, side, first, self.place.team.share)
        for batch in self._timed(batches, here):
            images, labels = self._moved(batch)
            for trial in self._alive(here):
                if trial.trainer.step == batch.step:
                    with self._isolate_failures(trial), self._clocked([trial], "compute"):
                        trial.trainer.train_batch(images, labels)
                        trial.report_step(began, first)
            self._save_at_times()
            if not self._alive(here):
                break

    def _evaluate(self, here: list[PackedTrial]) -> None:
        if not here:
            return
        self._phase(here, "evaluating")
        recipe = here[0].task.recipe
        side = here[0].trainer.architecture.input_size(recipe.resolution_at_evaluation)
        for trial in here:
            trial.trainer.start_evaluation()
        with self._clocked(here, "evaluate"):
            batches = self.place.val.evaluate(recipe.batch, side, recipe.eval_crop_ratio, self.place.team.share)
            for batch in batches:
                if self.place.team.size == 1 and self.place.stop:  # members of a team may have unequal shares
                    raise Stopped
                images, labels = self._moved(batch)
                for trial in self._alive(here):
                    with self._isolate_failures(trial):
                        trial.trainer.evaluate_batch(images, labels)

    def _finish(self, trial: PackedTrial) -> None:
        trial.trainer.check_learned()
        trial.keep_weights()
        self._end(trial, "done", None)

    def _is_to_pause(self, trial: PackedTrial) -> bool:
        return self.place.pause is not None and trial.trainer.epoch >= self.place.pause

    def _pause(self, trial: PackedTrial) -> None:
        """Save the task and leave it: whether it goes on is for its launcher to say."""
        trial.try_to_save()
        trial.progress_state.phase, trial.progress_state.epoch = "paused", trial.trainer.epoch
        trial.progress_state.error = trial.trainer.evaluations[-1].error(self.place.manifest.metric)
        self.place.heartbeat.beat(trial.progress_state)
        note(trial.task, f"paused after epoch {trial.trainer.epoch}")
        self._leave(trial)

    @contextmanager
    def _isolate_failures(self, trial: PackedTrial) -> Iterator[None]:
        """What goes wrong in the block ends this member and no other."""
        try:
            yield
        except (Unwritable, Interrupted):
            raise
        except Diverged as error:
            self._end(trial, "diverged", error)
        except Exception as error:
            self._check_ranks(error)
            if no_memory(error) and len(self.alive) > 1:
                self._postpone(trial, error)
            else:
                self._end(trial, "failed", error)
            self._check_rank_fails(error)
            self._check_device(error)

    def _moved(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The batch on the device. While there is no memory for it, nets leave the pack, the last one first."""
        while True:
            try:
                return self._feed(batch)
            except Exception as error:
                if not no_memory(error) or len(self.alive) == 1:
                    raise
                self._check_ranks(error)
                self._postpone(self.alive[-1], error)

    def _postpone(self, trial: PackedTrial, error: Exception) -> None:
        """Free the net at once; it waits for a smaller pack."""
        self._check_ground(error)
        self._leave(trial)
        self._wait_for_memory(trial.task, error)

    def _wait_for_memory(self, task: Task, error: Exception) -> None:
        traceback.clear_frames(error.__traceback__)  # they hold the net and its activations
        torch.cuda.empty_cache()
        complain(f"task {task.id} ({task.architecture}) found no memory beside {len(self.alive)} others: later")
        self.postponed.append(task)

    def _never_began(self, task: Task, error: Exception) -> None:
        """Record a failure; but a task without memory beside others waits for a smaller pack."""
        self._check_ranks(error)
        self._check_ground(error)
        if no_memory(error) and self.alive:
            self._wait_for_memory(task, error)
        else:
            device = describe(self.place.device)
            self._record(failed_result(task, self.place.manifest, error, device=device, started=self._started))
            self._check_rank_fails(error)

    def _end(self, trial: PackedTrial, status: Status, error: Exception | None) -> None:
        if error and status == "failed":
            self._check_ground(error)
        trial.tick()
        failure = failure_of(error) if error else None
        device, pack = describe(self.place.device), len(self.tasks)
        result = result_of(trial.trainer, status, failure, device=device, pack=pack, started=self._started)
        self._record(result)
        self._leave(trial)
        if status != "failed" and self.place.team.is_main:  # a failure may pass, and then the task goes on from here
            checkpoint.drop(self.place.study, trial.task.id)

    def _check_ground(self, error: Exception) -> None:
        """Raise `Interrupted` when the error comes with a request to stop, or from files of an image that is gone.

        The signal that asks a task to stop also ends the process that serves a mounted image (squashfuse).
        """
        if self.place.stop or image_gone(error):
            raise Interrupted(f"interrupted ({error}): it goes on from its last checkpoint") from error

    def _check_ranks(self, error: Exception) -> None:
        """Raise `RankFailed` where another rank is the cause, or where a pack of several ranks has no memory.

        Nothing is recorded then: the rank that is the cause tells it; without memory, the pack is tried in ones.
        """
        shrinks = no_memory(error) and len(self.tasks) > 1
        if self.place.team.size > 1 and (partner_lost(error) or shrinks):
            raise RankFailed(str(error)) from error

    def _check_rank_fails(self, error: Exception) -> None:
        """Raise `RankFailed` in a run of several ranks: the others are in a collective that this one never joins."""
        if self.place.team.size > 1:
            raise RankFailed(str(error)) from error

    def _check_device(self, error: Exception) -> None:
        """Raise `Stopped` when the error has broken the device for this process."""
        if device_lost(error):
            self._lose_device(error)
            raise Stopped from error

    def _lose_device(self, error: Exception) -> None:
        """Have the process end: its other tasks go on in a new one, from their last checkpoints."""
        self._device_lost = True
        self.place.stop.set(f"a broken device ({str(error).splitlines()[0]})")

    def _record(self, result: Result) -> None:
        if not self.place.team.is_main and result.status != "failed":  # any rank may fail, and tells it itself
            return
        path = self.place.study.result_path(result.id)
        if path.exists():  # Slurm gave the task to another node, for it thought this one dead
            note(result.task, "has its result already: another run of it came first")
            return
        self._write_patiently(result, path)
        outcome = result.failure.message if result.failure else f"error {result.error:.2%}"
        note(result.task, f"{result.status}, {outcome}")

    def _write_patiently(self, result: Result, path: Path) -> None:
        """Write a result; where that fails, again and again for minutes: hours of training are in it.

        Raises `Unwritable` at the end, and when somebody asks to stop.
        """
        until, said = time.monotonic() + PATIENCE_S, False
        while True:
            try:
                return result.write(path)
            except ToolkitError as error:
                if self.place.stop or time.monotonic() > until:
                    raise Unwritable(str(error)) from error
                if not said:
                    complain(f"{error}: tried again for {PATIENCE_S / 60:.0f} minutes")
                said = True
                time.sleep(1)

    def _leave(self, trial: PackedTrial) -> None:
        self.alive.remove(trial)
        self.place.heartbeat.release(trial.progress_state)
        trial.free()

    def _preempt(self) -> None:
        for trial in self.alive:
            trial.progress_state.phase = "preempted"
            saved = not self._device_lost and trial.try_to_save()
            kept = "checkpoint kept" if saved else "the checkpoint before is kept"
            self.place.heartbeat.beat(trial.progress_state)
            self.preempted.append(trial.task.id)
            note(trial.task, f"stopped by {self.place.stop.reason} at epoch {trial.trainer.epoch}, {kept}")

    def _save_at_times(self) -> None:
        if time.perf_counter() - self._saved > SAVE_EVERY_S:
            for trial in self.alive:
                trial.try_to_save()
            self._saved = time.perf_counter()

    def _alive(self, among: Sequence[PackedTrial] | None = None) -> list[PackedTrial]:
        return [trial for trial in (self.alive if among is None else among) if trial in self.alive]

    def _phase(self, members: list[PackedTrial], phase: Phase) -> None:
        for trial in members:
            trial.progress_state.phase = phase
            trial.progress_state.epoch, trial.progress_state.step = trial.trainer.epoch, trial.trainer.step
            self.place.heartbeat.beat(trial.progress_state)

    def _timed(self, batches: Iterator[Batch], here: list[PackedTrial]) -> Iterator[Batch]:
        """The same batches, until stopped; the wait for each is booked, that for a net's first as its start-up."""
        began = time.perf_counter()
        for batch in batches:
            if self.place.team.any(self.place.stop):
                raise Stopped
            now = time.perf_counter()
            for trial in self._alive(here):
                trial.book_wait(began, now)
            yield batch
            began = time.perf_counter()

    @contextmanager
    def _clocked(self, members: list[PackedTrial], what: str) -> Iterator[None]:
        """Book the block's seconds to those who are left; a GPU's are those until it is next waited for."""
        began = time.perf_counter()
        yield
        for trial in self._alive(members):
            clock = trial.trainer.clock
            setattr(clock, what, getattr(clock, what) + time.perf_counter() - began)
