"""Model-images a second (images times nets) when K nets share one loader, against the arithmetic alone.

Three ways of making the same updates take turns in one process: "arithmetic", the nets on one batch that lies in
memory; "pack", the nets on batches from one loader; "one by one", each net on batches of its own. --peer adds the nets
one by one with torchvision's loading. Every turn starts its loader cold; shares are medians over the rounds.

Then whole runs, start-up included (--whole K, 0 for none): `toolkit.train` on K tasks as a pack, the same one by one
in one process, and the same updates and evaluations as arithmetic alone, its own start-up left out. These processes
take turns of a second, the others stopped meanwhile; on a machine with other work their CPU seconds tell more.
"""

import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console
from rich.table import Table

from data_prep.sources.synthetic import main as synthesise
from toolkit.benchmarks._nets import Bench
from toolkit.benchmarks._turns import in_turns
from toolkit.cli import Parser, filled, parser, print_json, run
from toolkit.errors import ToolkitError
from toolkit.imagefile.format import JPG
from toolkit.imagefile.reader import Beton
from toolkit.study import Dataset, Recipe, Study, Task, find_dataset
from toolkit.training.threads import allocation, prepare


@dataclass(frozen=True)
class Pictures:
    """A dataset to train on, and as much of it as two cores manage in minutes."""

    size: int
    """Side of an image, pixels."""
    encoding: str
    side: int
    """Side of a crop, pixels."""
    images: int
    val: int
    batch: int
    epochs: int
    steps: int
    """Updates of each net in a turn."""
    rounds: int


@dataclass(frozen=True)
class SweepRequest:
    """Which nets are timed, and how."""

    pictures: str
    """A name of `PICTURES`."""
    packs: tuple[int, ...]
    """Sizes of a pack."""
    whole: int
    """Nets of the whole runs; 0: none."""
    workers: int
    """Threads."""
    peer: bool
    """With torchvision's loading as well."""


PICTURES = {
    "small": Pictures(40, "raw", 32, images=1024, val=500, batch=32, epochs=4, steps=4, rounds=5),  # the demo's set
    "large": Pictures(256, "jpg", 224, images=128, val=32, batch=8, epochs=2, steps=2, rounds=3),
}


def main(argv: Sequence[str]) -> int:
    """Time every K and print the tables."""
    given = _parser().parse_args(argv)
    prepare(given.workers)
    if given.arithmetic:
        _compute(Study.open(given.arithmetic), given.workers)
        return 0
    for field in fields(Pictures):
        if getattr(given, field.name, None) is None:
            setattr(given, field.name, getattr(PICTURES[given.pictures], field.name))
    with tempfile.TemporaryDirectory() as folder:
        document = measure(filled(SweepRequest, given), filled(Pictures, given), Path(folder))
    if given.json:
        print_json(document)
    else:
        _show(document)
    return 0


def _parser() -> Parser:
    arguments = parser("toolkit.bench sweep", __doc__)
    arguments.add_argument("--pictures", choices=PICTURES, default="small", help="the demo's, or JPEGs of 256 pixels")
    arguments.add_argument(
        "--packs", type=int, nargs="+", default=[1, 2, 4, 8, 16], metavar="K", help="sizes of a pack"
    )
    arguments.add_argument("--rounds", type=int, help="turns of each way (5; large: 3)")
    arguments.add_argument("--steps", type=int, help="updates of each net in a turn (4; large: 2)")
    arguments.add_argument("--batch", type=int, help="images a step (32; large: 8)")
    arguments.add_argument("--images", type=int, help="training images, an epoch of the whole runs (1024; large: 128)")
    arguments.add_argument("--epochs", type=int, help="of the whole runs (4; large: 2)")
    arguments.add_argument("--whole", type=int, default=8, metavar="K", help="nets of the whole runs (8; 0: none)")
    arguments.add_argument("--workers", type=int, default=allocation(), help="threads (default: all cores)")
    arguments.add_argument("--peer", action="store_true", help="with torchvision's loading, net by net, as well")
    arguments.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    arguments.add_argument("--arithmetic", metavar="STUDY", help="stop, then compute what this study's tasks would")
    return arguments


def measure(request: SweepRequest, pictures: Pictures, folder: Path) -> dict[str, Any]:
    """Rates by K in model-images a second, their shares of the arithmetic, and seconds of the whole runs."""
    dataset = _write(pictures, folder)
    images = _as_files(dataset, folder / "files") if request.peer else None
    document: dict[str, Any] = {name: getattr(pictures, name) for name in ("batch", "steps", "rounds")}
    document |= {"pictures": request.pictures, "workers": request.workers, "rows": []}
    for k in request.packs:
        bench = Bench(dataset, _tasks(pictures, dataset, k), request.workers)
        rates = bench.rates(pictures.steps, pictures.rounds, images)
        document["rows"].append({"k": k, "ways": rates})
        document["device"] = bench.device_name
        document["macs_per_s"] = bench.macs_per_image() * rates["arithmetic"]["rate"]
    return document | ({"whole": _whole(request, pictures, dataset, folder)} if request.whole else {})


def _write(pictures: Pictures, folder: Path) -> Dataset:
    """Textures as the demo's, of the size and number asked for."""
    what = {"train": pictures.images, "val": pictures.val, "size": pictures.size, "write-mode": pictures.encoding}
    options = [text for key, value in what.items() for text in (f"--{key}", str(value))]
    with redirect_stdout(sys.stderr):
        synthesise(["--family", "textures", "--name", "pictures", "--data", str(folder), *options])
    return find_dataset("pictures", folder)


def _as_files(dataset: Dataset, root: Path) -> Path:
    """The training images as JPEG files, a folder a class; returns ``root``."""
    beton = Beton.open(dataset.beton("train"))
    for i, label in enumerate(beton.labels):
        file, data = root / f"class-{label}" / f"{i:05d}.jpg", beton.encoded(i)
        if beton.modes[i] != JPG:
            pixels = data.reshape(beton.heights[i], beton.widths[i], 3)[:, :, ::-1]
            data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.tobytes())
    return root


def _tasks(pictures: Pictures, dataset: Dataset, count: int) -> list[Task]:
    """The population's first nets."""
    sizes = {"batch": pictures.batch, "epochs": pictures.epochs, "resolution": pictures.side}
    recipe = Recipe(**sizes, lr=0.01, crop_scale=(0.35, 1.0))
    content = dataset.manifest.content_hash
    return [
        Task(architecture=f"anynetx-500/{i}", dataset="pictures", dataset_hash=content, recipe=recipe)
        for i in range(count)
    ]


def _whole(request: SweepRequest, pictures: Pictures, dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Seconds of the whole runs of the same tasks, and the arithmetic's shares of them."""
    tasks = _tasks(pictures, dataset, request.whole)
    studies = {"pack": Study.create(folder / "together"), "one by one": Study.create(folder / "singly")}
    commands = {"arithmetic": _python(request, __name__, f"--arithmetic={studies['pack'].path}")}
    for name, study in studies.items():
        study.declare(tasks)
        what = [study.path, *(task.id for task in tasks), f"--data={folder}"]
        commands[name] = _python(request, "toolkit.train", *what, f"--pack={request.whole if name == 'pack' else 1}")
    runs = in_turns(commands, prepared="arithmetic")
    for name, ended in runs.items():
        if ended.status if name not in studies else not _trained(studies[name], tasks):
            raise ToolkitError(f"{' '.join(commands[name][:3])} ended with {ended.status}: {ended.last_words}")
    seconds = {name: ended.seconds for name, ended in runs.items()}
    cpu = {name: ended.cpu_s for name, ended in runs.items()}
    return {
        "k": request.whole,
        "epochs": pictures.epochs,
        "images": pictures.images,
        "val": pictures.val,
        "seconds": seconds,
        "share": {name: seconds["arithmetic"] / spent for name, spent in seconds.items()},
        "cpu_s": cpu,
        "cpu_share": {name: cpu["arithmetic"] / spent for name, spent in cpu.items()},
    }


def _trained(study: Study, tasks: Sequence[Task]) -> bool:
    """Whether all were trained to the end; on few pictures some may learn nothing."""
    results = [study.result(task.id) for task in tasks]
    return all(result and len(result.evaluations) == result.task.recipe.epochs for result in results)


def _python(request: SweepRequest, module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", module, *map(str, arguments), f"--workers={request.workers}"]


def _compute(study: Study, workers: int) -> None:
    tasks = list(study.tasks().values())
    Bench(find_dataset(tasks[0].dataset, study.path.parent), tasks, workers).stop_and_compute()


def _show(document: dict[str, Any]) -> None:
    names = list(document["rows"][0]["ways"])
    what = "{pictures} pictures, {rounds} rounds of {steps} updates of {batch} images a net".format(**document)
    table = Table(title=f"{what}, {document['device']}")
    for column in ("K", "arithmetic", *(text for name in names[1:] for text in (name, "of it"))):
        table.add_column(column, justify="right")
    for row in document["rows"]:
        cells = [text for way in row["ways"].values() for text in (f"{way['rate']:,.0f}", f"{way['share']:.2f}")]
        table.add_row(str(row["k"]), cells[0], *cells[2:])
    Console().print(table)
    if whole := document.get("whole"):
        Console().print(_whole_table(whole))
    print(f"for estimates: TOOLKIT_RATE='DEVICE={document['macs_per_s']:.2e}'")


def _whole_table(whole: dict[str, Any]) -> Any:
    what = "{k} nets, {epochs} epochs of {images} images, each followed by evaluating {val}".format(**whole)
    table = Table(title=f"whole runs, start-up included: {what}")
    for column in ("run", "seconds", "arithmetic's share", "CPU seconds", "share"):
        table.add_column(column, justify="left" if column == "run" else "right")
    for name in whole["seconds"]:
        wall, cpu = (f"{whole[key][name]:,.1f}" for key in ("seconds", "cpu_s"))
        table.add_row(name, wall, f"{whole['share'][name]:.2f}", cpu, f"{whole['cpu_share'][name]:.2f}")
    return table


if __name__ == "__main__":
    run(main)
