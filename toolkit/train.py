"""Train tasks of a study: what a job runs, and what can be run by hand.

    python -m toolkit.train runs/first 3f2a9c0d11e4b75a
    python -m toolkit.train first 3f2a9c 77b0e1 --pack 2
    python -m toolkit.train first 9c41aa --ranks 4        (one task over four GPUs of this node)

Tasks that have a result are skipped. Exit status: 0 all done; 1 some failed or diverged; 75 stopped by a signal
(SIGTERM, SIGINT, SIGUSR2), with a checkpoint of what was begun.
"""

from argparse import Action, ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from toolkit.cli import pack_size, parser, positive, run, say
from toolkit.errors import UsageError
from toolkit.study.dataset import data_root
from toolkit.study.recipe import recipe_help
from toolkit.study.study import Study
from toolkit.study.submission import Manner
from toolkit.training.request import Outcome, TrainRequest, exit_status, open_session
from toolkit.training.stop import StopFlag, on_signals
from toolkit.ways import Way, add_ways


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
    ways: Sequence[Way] = (),
) -> Outcome:
    """Run tasks one after another, or ``pack`` of them side by side (0: as many as pays), and write their results.

    ``ranks``: processes that share each batch, on GPUs one each, where several are asked for.
    ``ways``: what a GPU does other than PyTorch's own (`toolkit.ways`).
    ``workers``: decoding threads and torch's threads (0: the cores of the allocation). A task that fails writes a
    failed result and the next one runs; once ``stop`` is set, what is unfinished leaves a checkpoint.
    Raises `UsageError` for an unknown task, `ToolkitError` when the study's results cannot be written.
    """
    request = TrainRequest(study, data, Manner(pack, tuple(ways)), workers, on_corrupt, ranks=ranks)
    with open_session(request, StopFlag() if stop is None else stop) as session:
        return session(task_ids)


class _RecipeHelp(Action):
    """Prints the keys of a recipe and ends, like ``--help``."""

    def __call__(self, parser: ArgumentParser, *_: object) -> None:
        say(f"Keys of a recipe (TOML), each with its type and default; --set KEY=VALUE changes one.\n\n{recipe_help()}")
        parser.exit()


def _arguments(argv: Sequence[str]) -> Namespace:
    arguments = parser("toolkit.train", __doc__)
    arguments.add_argument("--recipe-help", action=_RecipeHelp, nargs=0, help="list the keys of a recipe")
    arguments.add_argument("study", help="a study's folder, or the name of one under runs/")
    arguments.add_argument("tasks", nargs="+", metavar="TASK_ID", help="ids, or unique beginnings of ids")
    arguments.add_argument("--data", type=Path, help="folder of datasets (TOOLKIT_DATA, else ./data)")
    arguments.add_argument(
        "--pack", type=pack_size, default=1, metavar="K", help="nets trained side by side from one loader, or auto"
    )
    arguments.add_argument(
        "--ranks", type=positive, default=1, metavar="N", help="processes that share each batch, one a GPU"
    )
    add_ways(arguments)
    arguments.add_argument("--workers", type=int, default=0, metavar="N", help="threads (0: the allocation's cores)")
    arguments.add_argument(
        "--corrupt",
        choices=("fail", "skip"),
        default="fail",
        help="training samples that don't decode (evaluation always fails)",
    )
    return arguments.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """The command line."""
    given = _arguments(argv)
    if given.workers < 0:
        raise UsageError("--workers must be at least 0")
    if given.ranks > 1 and given.pack == 0:
        raise UsageError("--pack auto measures one process; with --ranks, give --pack a number")
    if given.ranks > 1 and given.ways:
        raise UsageError("--ways are made for one process; leave them or --ranks out")
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
            ways=given.ways or (),
        )
    return exit_status(outcome)


if __name__ == "__main__":
    run(main)
