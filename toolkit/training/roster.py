"""Who of a pack still trains, and what an error means for that net, for its neighbours and for the process.

`Roster.isolate_failures` is where an error of a training net ends: it is recorded, it postpones the net, or it is
raised as what ends more than this net (`Unwritable`, `Interrupted`, `RankFailed`, `Stopped`).
"""

import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from toolkit.cli import complain
from toolkit.errors import ToolkitError
from toolkit.study.result import Result, Status
from toolkit.study.task import Task
from toolkit.training import checkpoint
from toolkit.training.device import describe
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
from toolkit.training.pack_context import PackContext
from toolkit.training.record import failed_result, failure_of, result_of
from toolkit.training.trainer import Diverged
from toolkit.training.trial import PackedTrial, note

PATIENCE_S = 300.0
"""How long a result that cannot be written is tried again (seconds; our choice)."""


class Roster:
    """The nets of one pack: those that train, and what became of the others."""

    def __init__(self, place: PackContext, declared: int, started: float) -> None:
        """``declared``: nets that the pack began with. ``started``: Unix time of that in seconds."""
        self.place, self.declared, self.started = place, declared, started
        self.alive: list[PackedTrial] = []
        self.postponed: list[Task] = []
        """Tasks that found no memory beside the others: they can be run again in a smaller pack."""
        self.preempted: list[str] = []
        self._device_lost = False

    def still(self, among: Sequence[PackedTrial]) -> list[PackedTrial]:
        """Those of ``among`` that still train."""
        return [trial for trial in among if trial in self.alive]

    @contextmanager
    def isolate_failures(self, trial: PackedTrial) -> Iterator[None]:
        """What goes wrong in the block ends this net and no other."""
        try:
            yield
        except (Unwritable, Interrupted):
            raise
        except Diverged as error:
            self.end(trial, "diverged", error)
        except Exception as error:
            self._raise_if_a_rank_is_the_cause(error)
            if no_memory(error) and len(self.alive) > 1:
                self.postpone(trial, error)
            else:
                self.end(trial, "failed", error)
            self._raise_if_ranks_wait(error)
            self._raise_if_device_lost(error)

    def never_began(self, task: Task, error: Exception) -> None:
        """Record the failure of a task whose net could not be built; without memory beside others it waits."""
        self._raise_if_a_rank_is_the_cause(error)
        self._reraise_if_interrupted(error)
        if no_memory(error) and self.alive:
            self._wait_for_memory(task, error)
        else:
            device = describe(self.place.device)
            self._record(failed_result(task, self.place.manifest, error, device=device, started=self.started))
            self._raise_if_ranks_wait(error)
        self._raise_if_device_lost(error)

    def fail_all(self, error: Exception) -> None:
        """No net can go on. Where the device broke and one of several is to blame, none is: all are interrupted."""
        self._raise_if_a_rank_is_the_cause(error)
        if not device_lost(error) or len(self.alive) == 1:
            for trial in list(self.alive):
                self.end(trial, "failed", error)
            self._raise_if_ranks_wait(error)
        if device_lost(error):
            self._lose_device(error)
            self.preempt()

    def make_room(self, error: Exception) -> None:
        """There is no memory for a batch: the last net leaves. Raises ``error`` where that cannot help."""
        if not no_memory(error) or len(self.alive) == 1:
            raise error
        self._raise_if_a_rank_is_the_cause(error)
        self.postpone(self.alive[-1], error)

    def postpone(self, trial: PackedTrial, error: Exception) -> None:
        """Free the net at once; it waits for a smaller pack."""
        self._reraise_if_interrupted(error)
        self._leave(trial)
        self._wait_for_memory(trial.task, error)

    def end(self, trial: PackedTrial, status: Status, error: Exception | None) -> None:
        """Write the net's result, and let it go."""
        if error and status == "failed":
            self._reraise_if_interrupted(error)
        trial.tick()
        failure = failure_of(error) if error else None
        device = describe(self.place.device)
        result = result_of(
            trial.trainer,
            status,
            failure,
            device=device,
            pack=self.declared,
            started=self.started,
            usage=self.place.heartbeat.meter.usage(),
        )
        self._record(result)
        self._leave(trial)
        if status != "failed" and self.place.team.is_main:  # a failure may pass, and then the task goes on from here
            checkpoint.drop(self.place.study, trial.task.id)

    def preempt(self) -> None:
        """All that still train are stopped: each keeps a checkpoint, where that can be written."""
        for trial in self.alive:
            trial.progress_state.phase = "preempted"
            saved = not self._device_lost and trial.try_to_save()
            kept = "checkpoint kept" if saved else "the checkpoint before is kept"
            self.place.heartbeat.beat(trial.progress_state)
            self.preempted.append(trial.task.id)
            note(trial.task, f"stopped by {self.place.stop.reason} at epoch {trial.trainer.epoch}, {kept}")

    def pause(self, trial: PackedTrial) -> None:
        """Save the net and leave it: whether it goes on is for its launcher to say."""
        trial.try_to_save()
        trial.progress_state.phase, trial.progress_state.epoch = "paused", trial.trainer.epoch
        trial.progress_state.error = trial.trainer.evaluations[-1].error(self.place.manifest.metric)
        self.place.heartbeat.beat(trial.progress_state)
        note(trial.task, f"paused after epoch {trial.trainer.epoch}")
        self._leave(trial)

    def release(self) -> None:
        """No heart beats for these nets any longer."""
        for trial in self.alive:
            self.place.heartbeat.release(trial.progress_state)

    def _leave(self, trial: PackedTrial) -> None:
        self.alive.remove(trial)
        self.place.heartbeat.release(trial.progress_state)
        trial.free()

    def _wait_for_memory(self, task: Task, error: Exception) -> None:
        traceback.clear_frames(error.__traceback__)  # they hold the net and its activations
        torch.cuda.empty_cache()
        complain(f"task {task.id} ({task.architecture}) found no memory beside {len(self.alive)} others: later")
        self.postponed.append(task)

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

    def _reraise_if_interrupted(self, error: Exception) -> None:
        """Raise `Interrupted` when the error comes with a request to stop, or from files of an image that is gone.

        The signal that asks a task to stop also ends the process that serves a mounted image (squashfuse).
        """
        if self.place.stop or image_gone(error):
            raise Interrupted(f"interrupted ({error}): it goes on from its last checkpoint") from error

    def _raise_if_a_rank_is_the_cause(self, error: Exception) -> None:
        """Raise `RankFailed` where another rank is the cause, or where a pack of several ranks has no memory.

        Nothing is recorded then: the rank that is the cause tells it; without memory, the pack is tried in ones.
        """
        shrinks = no_memory(error) and self.declared > 1
        if self.place.team.size > 1 and (partner_lost(error) or shrinks):
            raise RankFailed(str(error)) from error

    def _raise_if_ranks_wait(self, error: Exception) -> None:
        """Raise `RankFailed` in a run of several ranks: the others are in a collective that this one never joins."""
        if self.place.team.size > 1:
            raise RankFailed(str(error)) from error

    def _raise_if_device_lost(self, error: Exception) -> None:
        """Raise `Stopped` when the error has broken the device for this process."""
        if device_lost(error):
            self._lose_device(error)
            raise Stopped from error

    def _lose_device(self, error: Exception) -> None:
        """Have the process end: its other tasks go on in a new one, from their last checkpoints."""
        self._device_lost = True
        self.place.stop.set(f"a broken device ({str(error).splitlines()[0]})")
