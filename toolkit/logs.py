"""What a task printed: its lines from the log of the array element or worker that ran it.

python -m toolkit.logs NAME 3f2a9c0d11e4b75a     # or a unique beginning of the id
python -m toolkit.logs NAME anynetx-500/0 --dataset imagenet --seed 1
python -m toolkit.logs NAME 3f2a --files         # only say where the logs are
"""

import argparse
from collections.abc import Sequence

from toolkit.cli import parser, run, say
from toolkit.errors import ToolkitError


def main(argv: Sequence[str]) -> int:
    """Print a task's log; status 1 when there is none."""
    given = _parser().parse_args(argv)
    from toolkit.study import Study
    from toolkit.study.logs import log_files, task_log

    study = Study.open(given.study)
    task_id = study.find(given.task, given.dataset, given.seed)
    files = log_files(study, task_id)
    if not files:
        raise ToolkitError(f"task {task_id} has no log in {study.room('logs')}: it has not run yet")
    say("\n".join(map(str, files)) if given.files else task_log(study, task_id))
    return 0


def _parser() -> argparse.ArgumentParser:
    p = parser("toolkit.logs", __doc__)
    p.add_argument("study", metavar="STUDY", help="folder runs/NAME, or a path")
    p.add_argument(
        "task",
        metavar="TASK",
        help="its id, a unique beginning of it, or a net such as anynetx-500/0; status --failed lists ids",
    )
    p.add_argument("--dataset", metavar="NAME", help="of a net that was trained on several, as status names it")
    p.add_argument("--seed", type=int, metavar="N", help="of a net that was trained with several")
    p.add_argument("--files", action="store_true", help="print the paths of the logs instead")
    return p


if __name__ == "__main__":
    run(main)
