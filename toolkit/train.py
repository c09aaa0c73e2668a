"""Train tasks of a study: what a job runs, and what can be run by hand.

    python -m toolkit.train runs/first 3f2a9c0d11e4b75a
    python -m toolkit.train first 3f2a9c 77b0e1 --pack 2
    python -m toolkit.train first 9c41aa --ranks 4        (one task over four GPUs of this node)

Tasks that have a result are skipped. Exit status: 0 all done; 1 some failed or diverged; 75 stopped by a signal
(SIGTERM, SIGINT, SIGUSR2), with a checkpoint of what was begun.
"""

import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from toolkit.cli import pack_size, parser, positive, run
from toolkit.errors import ToolkitError, UsageError
from toolkit.study.dataset import data_root
from toolkit.study.study import Study
from toolkit.training.stop import StopFlag, on_signals
from toolkit.training.threads import prepare

if TYPE_CHECKING:
    from toolkit.study.task import Task

EX_TEMPFAIL = 75


class Outcome(NamedTuple):
    """Task ids by what became of them."""

    done: list[str]
    failed: list[str]
    diverged: list[str]
    preempted: list[str]


def train(
    study: Study,
    task_ids: Sequence[str],
    *,
    data: Path,
    pack: int = 1,
    workers: int = 0,
    stop: StopFlag | None = None,
    on_corrupt: Literal["fail", "skip"] = "fail",
    ranks: int = 1,
) -> Outcome:
    """Run tasks one after another, or ``pack`` of them side by side (0: as many as pays), and write their results.

    ``ranks``: processes that share each batch, on GPUs one each, where several are asked for.
    ``workers``: decoding threads and torch's threads (0: the cores of the allocation). A task that fails writes a
    failed result and the next one runs; once ``stop`` is set, what is unfinished leaves a checkpoint.
    Raises `UsageError` for an unknown task, `ToolkitError` when the study's results cannot be written.
    """
    _check_writable(study)
    tasks = _unfinished(study, task_ids)
    stop = StopFlag() if stop is None else stop
    if ranks > 1:
        from toolkit.training.ranks import Order, train_together

        left = tuple(task.id for task in tasks)
        order = Order(
            study=study.path, data=data, tasks=left, pack=pack, workers=workers, on_corrupt=on_corrupt, size=ranks
        )
        return _outcome(study, task_ids, train_together(study, order, stop))
    threads = prepare(workers)
    from toolkit.training.session import Session

    with Session(study, data, threads, stop, on_corrupt) as session:
        session.run(tasks, pack)
    return _outcome(study, task_ids, session.preempted)


def _unfinished(study: Study, task_ids: Sequence[str]) -> "list[Task]":
    declared, finished = study.tasks(), study.finished()
    missing = [task_id for task_id in task_ids if task_id not in declared]
    if missing:
        raise UsageError(f"{missing[0]!r} is no task of study {study.path}; see python -m toolkit.status {study.path}")
    return [declared[task_id] for task_id in dict.fromkeys(task_ids) if task_id not in finished]


def _check_writable(study: Study) -> None:
    for room in ("results", "progress", "checkpoints"):
        if not os.access(study.room(room), os.W_OK | os.X_OK):
            raise ToolkitError(f"{study.room(room)} is not writable: change its permissions or its owner")


def _outcome(study: Study, task_ids: Sequence[str], preempted: list[str]) -> Outcome:
    results = [result for task_id in dict.fromkeys(task_ids) if (result := study.result(task_id))]
    by_status = {status: [r.id for r in results if r.status == status] for status in ("done", "failed", "diverged")}
    return Outcome(**by_status, preempted=preempted)


def exit_status(outcome: Outcome) -> int:
    """0: all done; 1: some failed or diverged; 75: stopped before the end."""
    if outcome.preempted:
        return EX_TEMPFAIL
    return 1 if outcome.failed or outcome.diverged else 0


def _arguments(argv: Sequence[str]) -> Namespace:
    arguments = parser("toolkit.train", __doc__)
    arguments.add_argument("study", help="a study's folder, or the name of one under runs/")
    arguments.add_argument("tasks", nargs="+", metavar="TASK_ID", help="ids, or unique beginnings of ids")
    arguments.add_argument("--data", type=Path, help="folder of datasets (TOOLKIT_DATA, else ./data)")
    arguments.add_argument(
        "--pack", type=pack_size, default=1, metavar="K", help="nets trained side by side from one loader, or auto"
    )
    arguments.add_argument(
        "--ranks", type=positive, default=1, metavar="N", help="processes that share each batch, one a GPU"
    )
    arguments.add_argument("--workers", type=int, default=0, metavar="N", help="threads (0: the allocation's cores)")
    arguments.add_argument("--corrupt", choices=("fail", "skip"), default="fail", help="samples that don't decode")
    return arguments.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """The command line."""
    given = _arguments(argv)
    if given.workers < 0:
        raise UsageError("--workers must be at least 0")
    if given.ranks > 1 and given.pack == 0:
        raise UsageError("--pack auto measures one process; with --ranks, give --pack a number")
    study = Study.open(given.study)
    ids = [study.task(task).id for task in given.tasks]
    with on_signals() as stop:
        outcome = train(
            study,
            ids,
            data=data_root(given.data),
            pack=given.pack,
            workers=given.workers,
            stop=stop,
            on_corrupt=given.corrupt,
            ranks=given.ranks,
        )
    return exit_status(outcome)


if __name__ == "__main__":
    run(main)
