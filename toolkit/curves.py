"""Learning curves of a study, for other tools: a CSV, TensorBoard's event files, MLflow's database, W&B's offline runs.

python -m toolkit.curves NAME --out curves.csv              # one row for each epoch of each finished run
python -m toolkit.curves NAME --out curves                  # then: tensorboard --logdir curves
python -m toolkit.curves NAME --out curves.db --to mlflow   # then: mlflow ui --backend-store-uri sqlite:///curves.db
python -m toolkit.curves NAME --out curves --to wandb       # then, to send them: wandb sync curves/wandb/offline-run-*

Everything is written here and sent nowhere. All but the CSV need an extra: pip install '.[tensorboard]' ('.[mlflow]',
'.[wandb]').
"""

import argparse
import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    FORMATS[given.to or ("csv" if given.out.suffix == ".csv" else "tensorboard")](drawn, given.out)
    without = f"; {len(results) - len(drawn)} without an epoch" if len(results) > len(drawn) else ""
    say(f"{given.out}: {len(drawn)} runs{without}")
    return 0


def _parser() -> argparse.ArgumentParser:
    p = parser("toolkit.curves", __doc__)
    p.add_argument("study", metavar="STUDY", help="folder runs/NAME, or a path")
    p.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="a .csv file, a new folder, MLflow's .db file"
    )
    p.add_argument("--to", choices=FORMATS, help="default: csv for a .csv file, else tensorboard")
    return p


def _values(result: "Result", evaluation: "Evaluation") -> dict[str, float]:
    """Those of `VALUES` that an epoch has: error as a share (0..1) by the dataset's metric, mean cross entropies."""
    values = (evaluation.error(result.metric), evaluation.loss, evaluation.train_loss)
    return {name: value for name, value in zip(VALUES, values, strict=True) if value is not None}


def _name(result: "Result") -> str:
    return visible(f"{result.task.architecture} on {result.task.dataset}, seed {result.task.seed}")


def _run(result: "Result") -> dict[str, str | int]:
    """The `KEYS` of a run."""
    task = result.task
    run = (result.id, task.architecture, task.dataset, task.recipe_name, task.seed, result.status)
    return dict(zip(KEYS, run, strict=True))


def _library(module: str, extra: str) -> Any:
    """The module; raises `UsageError` with the extra that brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(f"this needs {module}: pip install '.[{extra}]', or --out FILE.csv") from error


def _new(path: Path) -> None:
    if path.exists():
        raise UsageError(f"{path} is there already, and every run would be drawn twice; give another name")


def _folder_name(text: str) -> str:
    """A name in a stranger's result leads to no other folder than one of its own."""
    return re.sub(r"^\.+|[/\0]", "-", visible(text))[:60] or "-"


def _as_csv(results: Iterable["Result"], path: Path) -> None:
    from toolkit.files import write_atomic

    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*KEYS, "epoch", *VALUES, "seconds"])
    for result in results:
        run = [csv_cell(str(value)) for value in _run(result).values()]
        for epoch in result.evaluations:
            values = _values(result, epoch)
            rows.writerow([*run, epoch.epoch, *map(values.get, VALUES), epoch.seconds])
    try:
        write_atomic(path, text.getvalue().encode())
    except OSError as error:
        raise ToolkitError(f"{path} cannot be written ({error.strerror})") from error


def _as_events(results: Iterable["Result"], folder: Path) -> None:
    """A folder for each run, DATASET/ARCHITECTURE/ID, whose events have the times at which its epochs ended."""
    writer = _library("tensorboardX", "tensorboard").SummaryWriter
    _new(folder)
    for result in results:
        task = result.task
        run = folder.joinpath(*map(_folder_name, (task.dataset, task.architecture, result.id)))
        when = result.provenance.started
        with writer(str(run)) as events:
            for epoch in result.evaluations:
                when += epoch.seconds
                for name, value in _values(result, epoch).items():
                    events.add_scalar(name, value, epoch.epoch, walltime=when)


def _as_mlflow(results: Iterable["Result"], path: Path) -> None:
    """MLflow's own SQLite database, with one experiment. What MLflow reports home of its use is switched off."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    mlflow, entities = _library("mlflow", "mlflow"), _library("mlflow.entities", "mlflow")
    _new(path)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{path.absolute()}")
    experiment = client.create_experiment(path.stem)
    for result in results:
        when = result.provenance.started
        run = client.create_run(experiment, start_time=int(when * 1000), run_name=_name(result)).info.run_id
        client.log_batch(run, params=[entities.Param(key, str(value)) for key, value in _run(result).items()])
        for epoch in result.evaluations:
            when += epoch.seconds
            values = _values(result, epoch)
            at = (int(when * 1000), epoch.epoch)
            client.log_batch(run, [entities.Metric(name, value, *at) for name, value in values.items()])
        client.set_terminated(run, "FINISHED" if result.status == "done" else "FAILED", int(when * 1000))


def _as_wandb(results: Iterable["Result"], folder: Path) -> None:
    """W&B's offline runs. A run has the result's id, so that sending it twice makes one run."""
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    wandb = _library("wandb", "wandb")
    _new(folder)
    folder.mkdir(parents=True)
    quiet = wandb.Settings(mode="offline", silent=True, console="off", disable_git=True, disable_code=True)
    for result in results:
        started = wandb.init(
            dir=folder,
            project=folder.name,
            id=_folder_name(result.id),
            name=_name(result),
            config=_run(result),
            settings=quiet,
        )
        with started as run:
            for epoch in result.evaluations:
                run.log(_values(result, epoch), step=epoch.epoch)


FORMATS = {"csv": _as_csv, "tensorboard": _as_events, "mlflow": _as_mlflow, "wandb": _as_wandb}

if __name__ == "__main__":
    run(main)
