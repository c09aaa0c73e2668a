"""The one way into training: a request opens a session, and the session trains tasks by their ids."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from toolkit.cluster.image_file import check_image
from toolkit.errors import ToolkitError, UsageError
from toolkit.study.study import Study
from toolkit.study.submission import ONE_BY_ONE, Manner, Submission
from toolkit.study.task import Task
from toolkit.training.stop import StopFlag
from toolkit.training.threads import prepare


@dataclass(frozen=True)
class TrainRequest:
    """Where and how tasks are trained."""

    study: Study
    data: Path
    manner: Manner = ONE_BY_ONE
    workers: int = 0
    """Decoding threads and torch's threads; 0: the cores of the allocation."""
    on_corrupt: Literal["fail", "skip"] = "fail"
    ranks: int = 1
    """Processes that share each batch, on GPUs one each."""
    gpu: bool = False
    """Whether a GPU was asked for, so that training on the CPU would be a mistake."""

    @classmethod
    def of(cls, study: Study, submission: Submission, workers: int = 0) -> "TrainRequest":
        """As a launch's submission asks."""
        return cls(study, Path(submission.data), submission.manner, workers, gpu=submission.gpus)


class Outcome(NamedTuple):
    """Task ids by what became of them."""

    done: list[str]
    failed: list[str]
    diverged: list[str]
    preempted: list[str]


Train = Callable[[Sequence[str]], Outcome]
"""Runs tasks one after another or in packs, skips those that have a result, writes the results of the others."""


@contextmanager
def open_session(request: TrainRequest, stop: StopFlag) -> Iterator[Train]:
    """Yield a `Train` that keeps device, threads and open datasets between its calls.

    A task that fails writes a failed result and the next one runs; once ``stop`` is set, what is unfinished leaves a
    checkpoint. Raises `ToolkitError` when the study's results cannot be written, the image is not the one that was
    launched, or the GPU that was asked for is not to be seen; the `Train` raises `UsageError` for an unknown task.
    """
    study = request.study
    _check_writable(study)
    check_image()
    if request.ranks > 1:
        yield _on_ranks(request, stop)
        return
    threads = prepare(request.workers)
    if request.gpu:
        from toolkit.training.device import check_gpu

        check_gpu()
    from toolkit.training.session import Session

    with Session(
        study,
        request.data,
        threads,
        stop,
        request.on_corrupt,
        pause=request.manner.pause,
        ways=request.manner.ways,
    ) as session:

        def train(task_ids: Sequence[str]) -> Outcome:
            session.run(_unfinished(study, task_ids), request.manner.pack)
            return _outcome(study, task_ids, session.preempted)

        yield train


def _on_ranks(request: TrainRequest, stop: StopFlag) -> Train:
    from toolkit.training.ranks import Order, train_together

    study = request.study

    def train(task_ids: Sequence[str]) -> Outcome:
        order = Order(
            study=study.path,
            data=request.data,
            tasks=tuple(task.id for task in _unfinished(study, task_ids)),
            pack=request.manner.pack,
            workers=request.workers,
            on_corrupt=request.on_corrupt,
            size=request.ranks,
        )
        return _outcome(study, task_ids, train_together(study, order, stop))

    return train


def exit_status(outcome: Outcome) -> int:
    """0: all done; 1: some failed or diverged; 75: stopped before the end."""
    if outcome.preempted:
        return os.EX_TEMPFAIL
    return 1 if outcome.failed or outcome.diverged else 0


def _unfinished(study: Study, task_ids: Sequence[str]) -> list[Task]:
    declared = study.tasks(set(task_ids))
    missing = [task_id for task_id in task_ids if task_id not in declared]
    if missing:
        raise UsageError(f"{missing[0]!r} is no task of study {study.path}; see python -m toolkit.status {study.path}")
    return [declared[task_id] for task_id in dict.fromkeys(task_ids) if not study.result_path(task_id).exists()]


def _check_writable(study: Study) -> None:
    for room in ("results", "progress", "checkpoints"):
        if not os.access(study.room(room), os.W_OK | os.X_OK):
            raise ToolkitError(f"{study.room(room)} is not writable: change its permissions or its owner")


def _outcome(study: Study, task_ids: Sequence[str], preempted: list[str]) -> Outcome:
    results = [result for task_id in dict.fromkeys(task_ids) if (result := study.result(task_id))]
    by_status = {status: [r.id for r in results if r.status == status] for status in ("done", "failed", "diverged")}
    return Outcome(**by_status, preempted=preempted)
