"""K nets, one loader: every batch is decoded, augmented and moved once and seen by all of them.

The nets of a pack share dataset, recipe, seed and input size, hence the order of the batches and every crop; each has
its own optimizer, schedule, checkpoint, progress and result, and what befalls one ends that one alone
(`toolkit/training/roster.py` says how).
"""

import time
from collections.abc import Sequence

import torch

from toolkit.study.task import Task
from toolkit.training import checkpoint
from toolkit.training.clocks import booked_waits, clocked
from toolkit.training.device import DeviceTransfer
from toolkit.training.failures import Interrupted, RankFailed, Stopped, Unwritable
from toolkit.training.heartbeat import Phase, ProgressState
from toolkit.training.loader import Batch
from toolkit.training.pack_context import PackContext
from toolkit.training.policies import training_batches
from toolkit.training.roster import Roster
from toolkit.training.trainer import Trainer
from toolkit.training.trial import PackedTrial

SAVE_EVERY_S = 300.0
"""Within a long epoch a checkpoint is written this often (seconds); every epoch ends with one anyway."""


class Pack:
    """One run of some tasks side by side; what became of each stands in ``roster`` afterwards."""

    def __init__(self, place: PackContext, tasks: Sequence[Task]) -> None:
        self.place, self.tasks = place, tasks
        self.roster = Roster(place, len(tasks), started=time.time())
        self._saved = time.perf_counter()
        self._feed = DeviceTransfer(place.manifest, place.device)

    def run(self) -> None:
        """Train, evaluate and record every task, or leave checkpoints when stopped.

        Raises `Unwritable`, `Interrupted`, or `RankFailed`.
        """
        try:
            for task in self.tasks:
                self._start_trial(task)
            while self.roster.alive:
                self._epoch(min(trial.trainer.epoch for trial in self.roster.alive))
        except Stopped:
            self.roster.preempt()
        except (Unwritable, Interrupted, RankFailed):
            raise
        except Exception as error:  # the loader's, or the device's: no net of the pack can go on
            self.roster.fail_all(error)
        finally:
            self.roster.release()

    def _start_trial(self, task: Task) -> None:
        """Build a net, or go on from its checkpoint. What goes wrong is this task's own failure."""
        place, progress_state = self.place, ProgressState(task.id, task.recipe.epochs)
        place.heartbeat.watch(progress_state)
        began = time.perf_counter()
        try:
            steps = place.train.steps(task.recipe.batch)
            trainer = Trainer(task, place.manifest, steps, place.team, place.texts, place.record, place.ways)
            if not checkpoint.resume(place.study, trainer) and task.start:
                checkpoint.start_from(place.study, trainer, task.start)
        except Exception as error:
            place.heartbeat.release(progress_state)
            self.roster.never_began(task, error)
            return
        progress_state.restarts, progress_state.steps = trainer.resumes, trainer.steps
        trial = PackedTrial(place.study, trainer, progress_state, began)
        self.roster.alive.append(trial)
        if self._is_to_pause(trial):
            self.roster.pause(trial)

    def _epoch(self, epoch: int) -> None:
        """Train and evaluate those who are at ``epoch``; a resumed net that is further on waits for them."""
        began = time.perf_counter()
        self._train(epoch, self._at(epoch))
        here = self._at(epoch)
        self._evaluate(here)
        for trial in here:
            with self.roster.isolate_failures(trial):
                trial.settle()  # what follows looks at the counts, and waits as well
                trial.trainer.finish_epoch(time.perf_counter() - began)
                trial.report_epoch()
                if trial.trainer.finished:
                    self._finish(trial)
                elif self._is_to_pause(trial):
                    self.roster.pause(trial)
                else:
                    trial.try_to_save()

    def _at(self, epoch: int) -> list[PackedTrial]:
        return [trial for trial in self.roster.alive if trial.trainer.epoch == epoch]

    def _train(self, epoch: int, here: list[PackedTrial]) -> None:
        self._phase(here, "training")
        first = min(trial.trainer.step for trial in here)
        task, side = here[0].task, here[0].trainer.side(epoch)
        began = time.perf_counter()
        batches = training_batches(self.place, task, epoch, side, first)
        for batch in booked_waits(batches, self.roster, here):
            if self.place.team.any(self.place.stop):
                raise Stopped
            images, labels = self._moved(batch)
            for trial in self.roster.still(here):
                if trial.trainer.step == batch.step:
                    with self.roster.isolate_failures(trial), clocked(self.roster, [trial], "compute"):
                        trial.trainer.train_batch(images, labels)
                        trial.report_step(began, first)
            self._save_at_times()
            if not self.roster.still(here):
                break

    def _evaluate(self, here: list[PackedTrial]) -> None:
        if not here:
            return
        self._phase(here, "evaluating")
        recipe = here[0].task.recipe
        side = here[0].trainer.architecture.input_size(recipe.resolution_at_evaluation)
        for trial in here:
            trial.trainer.start_evaluation()
        with clocked(self.roster, here, "evaluate"):
            for batch in self.place.val.evaluate(recipe.batch, side, recipe.eval_crop_ratio, self.place.team.share):
                if self.place.team.size == 1 and self.place.stop:  # members of a team may have unequal shares
                    raise Stopped
                images, labels = self._moved(batch)
                for trial in self.roster.still(here):
                    with self.roster.isolate_failures(trial):
                        trial.trainer.evaluate_batch(images, labels)

    def _finish(self, trial: PackedTrial) -> None:
        trial.trainer.check_learned()
        trial.keep_weights()
        self.roster.end(trial, "done", None)

    def _is_to_pause(self, trial: PackedTrial) -> bool:
        return self.place.pause is not None and trial.trainer.epoch >= self.place.pause

    def _moved(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The batch on the device. While there is no memory for it, nets leave the pack, the last one first."""
        while True:
            try:
                return self._feed(batch)
            except Exception as error:
                self.roster.make_room(error)

    def _save_at_times(self) -> None:
        if time.perf_counter() - self._saved > SAVE_EVERY_S:
            for trial in self.roster.alive:
                trial.try_to_save()
            self._saved = time.perf_counter()

    def _phase(self, trials: list[PackedTrial], phase: Phase) -> None:
        for trial in trials:
            trial.progress_state.phase = phase
            trial.progress_state.epoch, trial.progress_state.step = trial.trainer.epoch, trial.trainer.step
            self.place.heartbeat.beat(trial.progress_state)
