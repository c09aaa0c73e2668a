"""Write datasets three ways, each against FFCV's stock writer over torchvision's ImageFolder.

  resize   large photographs that shrink to 512 pixels
  pass     JPEGs that fit already
  subset   nine of the ten classes of a dataset that is there

Both writers have the same workers and the same output settings, and both end with the file on the disk. Rates are
images a second of the whole call, imports not included, on trees of made photographs that the page cache holds; the
stock writer has a smaller tree of the same photographs. The two take turns, task by task, and of the ratios of a number
of rounds the median counts: what else a machine does then falls on both. A round before them is watched for memory.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from data_prep.storage.image_tree import class_folders, class_tree
from data_prep.subsets.subset_copy import write_subset
from data_prep.subsets.subset_spec import Plan
from data_prep.writing.dataset import DatasetInfo, write_dataset
from toolkit.benchmarks._scenery import scenery, write_tree
from toolkit.cli import filled, parser, print_json, run
from toolkit.imagefile.format import Encoded
from toolkit.imagefile.images import decode, encode
from toolkit.study.dataset import MANIFEST, Encoding, Manifest, find_dataset

MOTIFS = 24  # different photographs; the rest of a tree are links to them
SLOPE = 1.4  # 19 KB at 256 pixels and 63 KB at 512; ImageNet has 17 and 51 by FFCV's documentation, at the same quality
CLASSES = 10
BLOCK = 1 << 23


@dataclass(frozen=True)
class WriterRequest:
    """How many photographs are written how often."""

    large: int
    small: int
    stock: float
    """Share that the stock writer does."""
    slope: float
    scan: int
    """Files of the tree that is only listed."""
    workers: int
    rounds: int


def main(argv: Sequence[str]) -> int:
    """Measure and print the rates and their ratios."""
    arguments = parser("toolkit.bench writer", __doc__)
    arguments.add_argument("--large", type=int, default=2000, help="photographs of 1600 x 1200 (default 2000)")
    arguments.add_argument("--small", type=int, default=60_000, help="photographs of 320 x 256 (default 60000)")
    arguments.add_argument("--stock", type=float, default=0.1, help="share that the stock writer does (default 0.1)")
    arguments.add_argument(
        "--slope", type=float, default=SLOPE, help=f"of their spectra: less is more detail (default {SLOPE})"
    )
    arguments.add_argument(
        "--scan", type=int, default=100_000, help="files of the tree that is only listed (default 100000)"
    )
    arguments.add_argument("--workers", type=int, default=2, help="processes of either writer (default 2)")
    arguments.add_argument("--rounds", type=int, default=5, help="turns of either writer (default 5)")
    arguments.add_argument("--encodings", action="store_true", help="only size and decoding speed of encoding choices")
    arguments.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    given = arguments.parse_args(argv)
    if given.encodings:
        _print_encodings(encodings(MOTIFS), given.json)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        document = measure(Path(folder), filled(WriterRequest, given))
    if given.json:
        print_json(document)
    else:
        _show(document)
    return 0


def measure(folder: Path, request: WriterRequest) -> dict[str, Any]:
    """Rates by task, in images a second, their ratios, and what our processes hold and the listing takes."""
    for name, images, size in (("resize", request.large, (1200, 1600)), ("pass", request.small, (256, 320))):
        _tree(folder / name, images, *size, request.slope)
        _tree(folder / f"fewer-{name}", int(request.stock * images), *size, request.slope)
    peak = [0]
    print("a round for memory, not timed", file=sys.stderr)
    _round(folder, request.workers, partial(_watched, peak))
    rounds = []
    for number in range(request.rounds):
        print(f"round {number + 1} of {request.rounds}", file=sys.stderr)
        rounds.append(_round(folder, request.workers, _seconds))
    ratios = {task: sorted(ours[task] / stock[task] for ours, stock in rounds) for task in rounds[0][0]}
    return {
        "ours": {task: statistics.median(ours[task] for ours, _ in rounds) for task in ratios},
        "stock": {task: statistics.median(stock[task] for _, stock in rounds) for task in ratios},
        "ratios": {task: statistics.median(of) for task, of in ratios.items()},
        "range": {task: (of[0], of[-1]) for task, of in ratios.items()},
        "rounds": [{"ours": ours, "stock": stock} for ours, stock in rounds],
        "kb": {task: _bytes(folder / task) / _files(folder / task) / 1000 for task in ("resize", "pass")},
        "largest_process_mib": peak[0] / 2**20,
        "scan": {"files": request.scan, "seconds": _scan(folder / "scan", request.scan)},
        "workers": request.workers,
    }


def _round(
    folder: Path, workers: int, seconds: Callable[[Callable[[], object]], float]
) -> tuple[dict[str, float], dict[str, float]]:
    """Images a second by task, ours and the stock writer's, which runs right after ours: a machine's load changes."""
    ours, stock = {}, {}
    for task in ("resize", "pass"):
        tree, fewer, target = folder / task, folder / f"fewer-{task}", folder / f"written-{task}"
        _find_memory(tree)
        ours[task] = _files(tree) / seconds(partial(_write, tree, target, workers))
        _find_memory(fewer)
        stock[task] = _stock(fewer, folder / "theirs.beton", workers)
    parent, target = folder / "written-pass", folder / "written-subset"
    _find_memory(folder / "pass")
    took = seconds(partial(_subset, parent, target, workers))
    ours["subset"] = Manifest.read(target / MANIFEST).splits["train"].samples / took
    stock["subset"] = stock["pass"]  # a subset of an ImageFolder is written like any other part of it
    for written in folder.glob("written-*"):
        shutil.rmtree(written)
    return ours, stock


def _find_memory(tree: Path) -> None:
    """Write as many bytes as the tree has beside it, and remove them.

    A virtual machine may have to be given memory before it can use it; for a folder in memory that would be timed.
    """
    room = tree.with_name("room")
    with room.open("wb", buffering=0) as file:
        for _ in range(-(-_bytes(tree) // BLOCK)):
            file.write(bytes(BLOCK))
    room.unlink()


def _files(tree: Path) -> int:
    return sum(1 for _ in tree.glob("*/*.jpg"))


def _bytes(tree: Path) -> int:
    return sum(path.stat().st_size for path in tree.glob("*/*.jpg"))


def _watched(peak: list[int], work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes; ``peak[0]`` becomes the resident bytes of its largest process, if that is more.

    The looking costs time, so what is watched is not timed for the table.
    """

    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return _seconds(work)
    finally:
        done.set()
        watcher.join()


def encodings(images: int) -> list[dict[str, Any]]:
    """KB an image and images a second and core decoded, by encoding, of photographs of 1600 x 1200."""

    photographs = [scenery(1200, 1600, seed) for seed in range(images)]
    rows = []
    for side in (256, 512):
        for mode, quality in (("jpg", 75), ("jpg", 90), ("jpg", 95), ("raw", 90)):
            choice = Encoding.model_validate({"write_mode": mode, "max_resolution": side, "jpeg_quality": quality})
            encoded = [encode(photograph, choice) for photograph in photographs]
            seconds = min(_seconds(partial(_decode_all, encoded)) for _ in range(3))
            size = sum(len(image.data) for image in encoded) / images / 1000
            rows.append({"side": side, "mode": mode, "quality": quality, "kb": size, "decoded": images / seconds})
    return rows


def _decode_all(images: Sequence[Encoded]) -> None:

    for image in images:
        decode(image).copy()


def _print_encodings(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    print("longest side  mode  quality  KB an image  decoded images/s a core")
    for row in rows:
        quality = row["quality"] if row["mode"] == "jpg" else "-"
        print(f"{row['side']:>12}  {row['mode']:>4}  {quality:>7}  {row['kb']:>11.1f}  {row['decoded']:>23,.0f}")


def _tree(root: Path, images: int, height: int, width: int, slope: float) -> Path:
    """A folder a class with ``images`` JPEG files, all but the first few hard links."""
    files = write_tree(root, min(MOTIFS, images), CLASSES, height, width, slope=slope)
    for number in range(len(files), images):
        motif = files[number % len(files)]
        (motif.parent / f"{number:07d}.jpg").hardlink_to(motif)
    return root


def _write(tree: Path, target: Path, workers: int) -> None:

    classes = class_folders(tree)
    samples = class_tree(tree, classes)
    encoding = Encoding(max_resolution=512)
    write_dataset(target, {"train": samples, "val": samples[:1]}, DatasetInfo(classes), encoding, workers=workers)


def _subset(parent: Path, target: Path, workers: int) -> None:

    dataset = find_dataset(parent.name, parent.parent)
    kept = range(CLASSES - 1)
    names = [dataset.manifest.classes[label] for label in kept]
    write_subset(dataset, Plan(target.name, kept, kept, names, [], 0), target, workers=workers)


def _stock(tree: Path, target: Path, workers: int) -> float:
    """Images a second of FFCV's writer, in a process of its own; its imports do not count."""
    code = (
        "import os, sys, time, ffcv\n"
        "from torchvision.datasets import ImageFolder\n"
        "tree, target, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])\n"
        "start = time.perf_counter()\n"
        "data = ImageFolder(tree)\n"
        "fields = {'image': ffcv.fields.RGBImageField('jpg', 512), 'label': ffcv.fields.IntField()}\n"
        "ffcv.DatasetWriter(target, fields, num_workers=workers).from_indexed_dataset(data)\n"
        "os.fsync(os.open(target, os.O_RDONLY))\n"
        "print(len(data) / (time.perf_counter() - start))\n"
    )
    command = [sys.executable, "-c", code, str(tree), str(target), str(workers)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _scan(root: Path, files: int) -> float:
    """Seconds to find ``files`` files of 1000 classes."""

    for label in range(1000):
        folder = root / f"n{label:08d}"
        folder.mkdir(parents=True)
        for number in range(files // 1000):
            (folder / f"{number}.JPEG").touch()
    return _seconds(lambda: class_tree(root, class_folders(root)))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _show(document: dict[str, Any]) -> None:

    table = Table(title=f"images a second, {document['workers']} workers, medians of {len(document['rounds'])} rounds")
    for column in ("task", "data_prep", "FFCV's writer", "ratio", "from - to"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task, rate in document["ours"].items():
        low, high = document["range"][task]
        ratio = f"{document['ratios'][task]:.1f}"
        table.add_row(task, f"{rate:,.0f}", f"{document['stock'][task]:,.0f}", ratio, f"{low:.1f} - {high:.1f}")
    scan = document["scan"]
    Console().print(
        table,
        f"largest process {document['largest_process_mib']:.0f} MiB; "
        f"{document['kb']['resize']:.0f} and {document['kb']['pass']:.0f} KB an image; "
        f"{scan['files']:,} files listed in {scan['seconds']:.2f} s",
    )


if __name__ == "__main__":
    run(main)
