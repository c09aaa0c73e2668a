"""Learning curves of a study, for other tools: one CSV, or a folder of TensorBoard's event files.

python -m toolkit.curves NAME --out curves.csv     # one row for each epoch of each finished run
python -m toolkit.curves NAME --out curves         # then: tensorboard --logdir curves (pip install '.[tensorboard]')
"""

import argparse
import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli import parser, run, say
from toolkit.errors import ToolkitError, UsageError
from toolkit.visible import csv as csv_cell
from toolkit.visible import visible

if TYPE_CHECKING:
    from toolkit.study import Evaluation, Result

KEYS = ("id", "architecture", "dataset", "recipe", "seed", "status")
VALUES = ("error", "loss", "train_loss")


def main(argv: Sequence[str]) -> int:
    """Write the curves of every finished run; a run that ended before its first epoch has none, and is counted."""
    given = _parser().parse_args(argv)
    from toolkit.study import Study

    study = Study.open(given.study)
    results = [result for id in sorted(study.finished()) if (result := study.result(id))]
    drawn = [result for result in results if result.evaluations]
    if not drawn:
        raise ToolkitError(f"no run of study {study.path} has ended yet: python -m toolkit.status {study.path}")
    (_as_csv if given.out.suffix == ".csv" else _as_events)(drawn, given.out)
    without = f"; {len(results) - len(drawn)} without an epoch" if len(results) > len(drawn) else ""
    say(f"{given.out}: {len(drawn)} runs{without}")
    return 0


def _parser() -> argparse.ArgumentParser:
    p = parser("toolkit.curves", __doc__)
    p.add_argument("study", metavar="STUDY", help="folder runs/NAME, or a path")
    p.add_argument("--out", type=Path, required=True, metavar="PATH", help="a .csv file, or a folder for event files")
    return p


def _values(result: "Result", evaluation: "Evaluation") -> dict[str, float | None]:
    """The `VALUES` of an epoch: error as a share (0..1) by the dataset's metric, losses as mean cross entropies."""
    return {
        "error": evaluation.error(result.metric),
        "loss": evaluation.loss,
        "train_loss": evaluation.train_loss,
    }


def _folder_name(text: str) -> str:
    """A name in a stranger's result leads to no other folder than one of its own."""
    return re.sub(r"^\.+|[/\0]", "-", visible(text))[:60] or "-"


def _as_csv(results: Iterable["Result"], path: Path) -> None:
    from toolkit.files import write_atomic

    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*KEYS, "epoch", *VALUES, "seconds"])
    for result in results:
        task = result.task
        run = (result.id, task.architecture, task.dataset, task.recipe_name, str(task.seed), result.status)
        for epoch in result.evaluations:
            rows.writerow([*map(csv_cell, run), epoch.epoch, *_values(result, epoch).values(), epoch.seconds])
    try:
        write_atomic(path, text.getvalue().encode())
    except OSError as error:
        raise ToolkitError(f"{path} cannot be written ({error.strerror})") from error


def _as_events(results: Iterable["Result"], folder: Path) -> None:
    """A folder for each run, DATASET/ARCHITECTURE/ID, whose events have the times at which its epochs ended."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UsageError("event files need tensorboardX: pip install '.[tensorboard]', or --out FILE.csv") from error
    if folder.exists():
        raise UsageError(f"{folder} is there already: TensorBoard would draw its runs twice; name a new folder")
    for result in results:
        task = result.task
        run = folder.joinpath(*map(_folder_name, (task.dataset, task.architecture, result.id)))
        when = result.provenance.started
        with SummaryWriter(str(run)) as writer:
            for epoch in result.evaluations:
                when += epoch.seconds
                for name, value in _values(result, epoch).items():
                    if value is not None:
                        writer.add_scalar(name, value, epoch.epoch, walltime=when)


if __name__ == "__main__":
    run(main)
