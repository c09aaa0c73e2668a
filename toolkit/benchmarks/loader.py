"""Images a second from JPEG files to training batches: torchvision, stock FFCV, this toolkit, and the limit.

All see the same JPEG bytes and draw random resized crops and flips of the same distribution, on the same cores, each
in a process of its own, in turns. The limit is libturbojpeg decoding whole images and nothing else.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from toolkit.cli import parser, print_json, run
from toolkit.errors import ToolkitError
from toolkit.training.threads import allocation

Epochs = Generator[int, None, None]
"""Endless: the number of images in each batch."""
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def main(argv: Sequence[str]) -> int:
    """Time all contestants and print the table."""
    given = _arguments(argv)
    if given.contestant:
        print(json.dumps(_time(CONTESTANTS[given.contestant](given), given.seconds)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        given.folder = Path(folder)
        document = measure(given)
    if given.json:
        print_json(document)
    else:
        _show(document)
    return 0


def _arguments(argv: Sequence[str]) -> Namespace:
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
    arguments.add_argument("--only", nargs="+", choices=sorted(CONTESTANTS), help="some of the contestants")
    arguments.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    arguments.add_argument("--contestant", choices=sorted(CONTESTANTS), help="run one in this process, on --folder")
    arguments.add_argument("--folder", type=Path, help="made by a run without --contestant")
    return arguments.parse_args(argv)


def measure(given: Namespace) -> dict[str, Any]:
    """Median over the rounds: images/s, seconds to the first batch, peak memory in MiB."""
    from toolkit.benchmarks._scenery import write_beton

    write_beton(given.folder, given.images, 8, *given.size)
    names = given.only or list(CONTESTANTS)
    rounds = [{name: _in_own_process(name, given) for name in names} for _ in range(given.rounds)]
    rows = {name: {key: median(turn[name][key] for turn in rounds) for key in rounds[0][name]} for name in names}
    return {"images": given.images, "size": given.size, "side": given.side, "workers": given.workers, "rows": rows}


def _in_own_process(name: str, given: Namespace) -> dict[str, float]:
    options = {"side": given.side, "batch": given.batch, "workers": given.workers, "seconds": given.seconds}
    flags = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    command = [sys.executable, "-m", __name__, "--contestant", name, "--folder", str(given.folder), *flags]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise ToolkitError(f"{name} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _time(start: Callable[[], Epochs], seconds: float) -> dict[str, float]:
    began = time.perf_counter()
    batches = start()
    next(batches)
    first = time.perf_counter() - began
    for _ in range(10):
        next(batches)
    images, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        images += next(batches)
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    batches.close()  # ends worker processes, whose memory counts from then on
    peak = sum(resource.getrusage(each).ru_maxrss for each in who) / 1024
    return {"images_per_s": images / spent, "first_batch_s": first, "peak_mib": peak}


def _ours(given: Namespace) -> Callable[[], Epochs]:
    def start() -> Epochs:
        from toolkit.imagefile.reader import Beton
        from toolkit.study import Recipe
        from toolkit.training.loader import Loader, Pool

        recipe = Recipe(batch=given.batch, resolution=given.side, crop_scale=SCALE, crop_ratio=RATIO)
        loader = Loader(Beton.open(given.folder / "dataset" / "train.beton"), Pool(given.workers))
        epoch = 0
        while True:
            for batch in loader.train(recipe, 0, epoch, given.side):
                yield len(batch.images)
            epoch += 1

    return start


def _limit(given: Namespace) -> Callable[[], Epochs]:
    def start() -> Epochs:
        from toolkit.imagefile.crops import Decoder
        from toolkit.imagefile.reader import Beton

        beton = Beton.open(given.folder / "dataset" / "train.beton")
        sizes = list(zip(beton.heights.tolist(), beton.widths.tolist(), strict=True))

        def decode(part: range) -> int:
            decoder = Decoder()
            for i in part:
                decoder.jpeg(beton.encoded(i), *sizes[i])
            return len(part)

        with ThreadPoolExecutor(given.workers) as threads:
            while True:
                yield sum(threads.map(decode, (range(i, len(beton), given.workers) for i in range(given.workers))))

    return start


def _ffcv(given: Namespace) -> Callable[[], Epochs]:
    def start() -> Epochs:
        from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
        from ffcv.loader import Loader, OrderOption
        from ffcv.transforms import RandomHorizontalFlip, ToTensor, ToTorchImage

        decoder = RandomResizedCropRGBImageDecoder((given.side, given.side), scale=SCALE, ratio=RATIO)
        image = [decoder, RandomHorizontalFlip(), ToTensor(), ToTorchImage()]
        loader = Loader(
            str(given.folder / "dataset" / "train.beton"),
            batch_size=given.batch,
            num_workers=given.workers,
            order=OrderOption.RANDOM,
            os_cache=True,
            pipelines={"image": image, "label": [IntDecoder(), ToTensor()]},
        )
        while True:
            for images, _ in loader:
                yield len(images)

    return start


def _torchvision(given: Namespace) -> Callable[[], Epochs]:
    def start() -> Epochs:
        import torch
        from torchvision import datasets, transforms

        torch.set_num_threads(1)
        chain = transforms.Compose(
            [
                transforms.RandomResizedCrop(given.side, SCALE, RATIO),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
            ]
        )
        loader = torch.utils.data.DataLoader(
            datasets.ImageFolder(given.folder / "tree", chain),
            batch_size=given.batch,
            shuffle=True,
            drop_last=True,
            num_workers=given.workers,
            persistent_workers=True,
        )
        while True:
            for images, _ in loader:
                yield len(images)

    return start


CONTESTANTS = {"limit": _limit, "ours": _ours, "ffcv": _ffcv, "torchvision": _torchvision}
TITLES = {"limit": "decoding alone", "ours": "this toolkit", "ffcv": "stock FFCV", "torchvision": "torchvision"}


def _show(document: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    rows, size = document["rows"], "x".join(map(str, document["size"]))
    table = Table(title=f"{size} JPEG-90 to {document['side']}-pixel crops, {document['workers']} workers")
    for column in ("loader", "images/s", "of the limit", "first batch, s", "peak MiB"):
        table.add_column(column, justify="left" if column == "loader" else "right")
    limit = rows.get("limit", {}).get("images_per_s", float("nan"))
    for name, row in rows.items():
        share = f"{row['images_per_s'] / limit:.2f}"
        table.add_row(
            TITLES[name], f"{row['images_per_s']:,.0f}", share, f"{row['first_batch_s']:.2f}", f"{row['peak_mib']:,.0f}"
        )
    Console().print(table)


if __name__ == "__main__":
    run(main)
