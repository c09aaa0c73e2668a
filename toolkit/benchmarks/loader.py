"""Images a second from JPEG files to training batches, on this machine: this toolkit, and the limit.

All see the same JPEG bytes and draw random resized crops and flips of the same distribution, on the same cores, each
in a process of its own, in turns. The limit is libturbojpeg decoding whole images and nothing else. In a source tree
torchvision and stock FFCV take part.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from toolkit.benchmarks._scenery import write_beton
from toolkit.cli import Parser, filled, parser, print_json, run
from toolkit.errors import ToolkitError
from toolkit.training.threads import allocation

Epochs = Generator[int, None, None]
"""Endless: the number of images in each batch."""
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


@dataclass(frozen=True)
class Work:
    """What each contestant does."""

    side: int
    """Of a crop after resizing, pixels."""
    batch: int
    workers: int
    """Threads or processes."""
    seconds: float
    """Measured in a turn."""


@dataclass(frozen=True)
class Pictures:
    """What is made for them to read."""

    images: int
    size: tuple[int, int]
    """Height and width, pixels."""


class Contestant(NamedTuple):
    """A way from a folder (dataset/train.beton, tree/CLASS/FILE.jpg) to batches; its own imports stay inside it."""

    title: str
    batches: Callable[[Work, Path], Epochs]


def main(argv: Sequence[str]) -> int:
    """Time the shipped contestants and print the table."""
    return compare(argv, CONTESTANTS)


def compare(argv: Sequence[str], contestants: Mapping[str, Contestant]) -> int:
    """Time all ``contestants`` and print the table."""
    given = _parser(sorted(contestants)).parse_args(argv)
    work, pictures = filled(Work, given), filled(Pictures, given)
    if given.contestant:
        print(json.dumps(_time(contestants[given.contestant].batches, work, given.folder)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        document = measure(given.only or list(contestants), work, pictures, given.rounds, Path(folder))
    if given.json:
        print_json(document)
    else:
        _show(document, contestants)
    return 0


def _parser(names: Sequence[str]) -> Parser:
    arguments = parser("toolkit.bench loader", __doc__)
    arguments.add_argument("--images", type=int, default=512, help="distinct images (default 512)")
    arguments.add_argument("--size", type=int, nargs=2, default=(256, 320), metavar=("H", "W"), help="of an image")
    arguments.add_argument("--side", type=int, default=224, help="of a crop after resizing (default 224)")
    arguments.add_argument("--batch", type=int, default=64)
    arguments.add_argument(
        "--workers", type=int, default=allocation(), help="threads or processes (default: all cores)"
    )
    arguments.add_argument("--seconds", type=float, default=4.0, help="measured per contestant and round (default 4)")
    arguments.add_argument("--rounds", type=int, default=2, help="turns of each contestant (default 2)")
    arguments.add_argument("--only", nargs="+", choices=names, help="some of the contestants")
    arguments.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    arguments.add_argument("--contestant", choices=names, help="run one in this process, on --folder")
    arguments.add_argument("--folder", type=Path, help="made by a run without --contestant")
    return arguments


def measure(names: Sequence[str], work: Work, pictures: Pictures, rounds: int, folder: Path) -> dict[str, Any]:
    """Median over the rounds: images/s, seconds to the first batch, peak memory in MiB."""
    write_beton(folder, pictures.images, 8, *pictures.size)
    turns = [{name: _in_own_process(name, work, folder) for name in names} for _ in range(rounds)]
    rows = {name: {key: median(turn[name][key] for turn in turns) for key in turns[0][name]} for name in names}
    return {"images": pictures.images, "size": pictures.size, "side": work.side, "workers": work.workers, "rows": rows}


def _in_own_process(name: str, work: Work, folder: Path) -> dict[str, float]:
    options = {"contestant": name, "folder": folder, **vars(work)}
    flags = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "toolkit.bench", "loader", *flags]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise ToolkitError(f"{name} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _time(start: Callable[[Work, Path], Epochs], work: Work, folder: Path) -> dict[str, float]:
    began = time.perf_counter()
    batches = start(work, folder)
    next(batches)
    first = time.perf_counter() - began
    for _ in range(10):
        next(batches)
    images, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < work.seconds:
        images += next(batches)
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    batches.close()  # ends worker processes, whose memory counts from then on
    peak = sum(resource.getrusage(each).ru_maxrss for each in who) / 1024
    return {"images_per_s": images / spent, "first_batch_s": first, "peak_mib": peak}


def _ours(work: Work, folder: Path) -> Epochs:
    from toolkit.imagefile.reader import Beton
    from toolkit.study import Recipe
    from toolkit.training.loader import Loader, Pool

    recipe = Recipe(batch=work.batch, resolution=work.side, crop_scale=SCALE, crop_ratio=RATIO)
    loader = Loader(Beton.open(folder / "dataset" / "train.beton"), Pool(work.workers))
    epoch = 0
    while True:
        for batch in loader.train(recipe, 0, epoch, work.side):
            yield len(batch.images)
        epoch += 1


def _limit(work: Work, folder: Path) -> Epochs:
    from toolkit.imagefile.crops import Decoder
    from toolkit.imagefile.reader import Beton

    beton = Beton.open(folder / "dataset" / "train.beton")
    sizes = list(zip(beton.heights.tolist(), beton.widths.tolist(), strict=True))

    def decode(part: range) -> int:
        decoder = Decoder()
        for i in part:
            decoder.jpeg(beton.encoded(i), *sizes[i])
        return len(part)

    with ThreadPoolExecutor(work.workers) as threads:
        while True:
            yield sum(threads.map(decode, (range(i, len(beton), work.workers) for i in range(work.workers))))


CONTESTANTS = {"limit": Contestant("decoding alone", _limit), "ours": Contestant("this toolkit", _ours)}


def _show(document: dict[str, Any], contestants: Mapping[str, Contestant]) -> None:
    rows, size = document["rows"], "x".join(map(str, document["size"]))
    table = Table(title=f"{size} JPEG-90 to {document['side']}-pixel crops, {document['workers']} workers")
    for column in ("loader", "images/s", "of the limit", "first batch, s", "peak MiB"):
        table.add_column(column, justify="left" if column == "loader" else "right")
    limit = rows.get("limit", {}).get("images_per_s", float("nan"))
    for name, row in rows.items():
        rate, first, peak = row["images_per_s"], row["first_batch_s"], row["peak_mib"]
        table.add_row(contestants[name].title, f"{rate:,.0f}", f"{rate / limit:.2f}", f"{first:.2f}", f"{peak:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    run(main)
