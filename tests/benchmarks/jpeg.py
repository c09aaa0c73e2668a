"""Processor time of telling that a JPEG file is whole: by the toolkit's own walk through it, and by libjpeg-turbo.

Libjpeg's quickest way is a lossless transform without output (`tjTransform`, TJXOPT_NOOUTPUT): it decodes all
coefficients and makes no pixel. Its usual way is a decode. All three see the same files in turn; the medians of the
rounds are compared.
"""

import ctypes
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from toolkit.benchmarks._scenery import write_tree
from toolkit.cli import parser, print_json, run
from toolkit.errors import ToolkitError
from toolkit.imagefile.jpeg.turbo import EXACT, Turbo, library
from toolkit.imagefile.jpeg.whole import whole

HEIGHT, WIDTH = 256, 320
NO_OUTPUT = 16  # TJXOPT_NOOUTPUT


class _Transform(ctypes.Structure):
    """tjtransform of turbojpeg.h, version 2: a cropping region, an operation, options, two pointers."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("x", "y", "w", "h", "op", "options")),
        ("data", ctypes.c_void_p), ("custom_filter", ctypes.c_void_p),
    )  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Time the three ways and print microseconds an image."""
    arguments = parser("toolkit.bench jpeg", __doc__)
    arguments.add_argument("--images", type=int, default=256, help="files (default 256)")
    arguments.add_argument("--rounds", type=int, default=7, help="of all three ways (default 7)")
    arguments.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    given = arguments.parse_args(argv)
    if library() is None:
        raise ToolkitError("there is no libturbojpeg here to compare with: install libturbojpeg0")
    document = measure(given.images, given.rounds)
    if given.json:
        print_json(document)
    else:
        _show(document)
    return 0


def measure(images: int, rounds: int) -> dict[str, Any]:
    """Microseconds of processor time an image by each way, and how many times the own walk's that is."""
    with tempfile.TemporaryDirectory() as folder:
        files = [file.read_bytes() for file in write_tree(Path(folder), images, 8, HEIGHT, WIDTH)]
    turbo, out = Turbo(), np.empty((HEIGHT, WIDTH, 3), np.uint8)
    arrays = [np.frombuffer(file, np.uint8) for file in files]
    transform = _transformer()

    def decode_all() -> None:
        for array in arrays:
            turbo.decode(array, out, EXACT)

    ways: dict[str, Callable[[], None]] = {
        "own walk": lambda: _check(all(whole(files))),
        "tjTransform": lambda: _check(all(transform(array) for array in arrays)),
        "decode": decode_all,
    }
    for way in ways.values():
        way()  # compiled, and its memory is there
    spent = {name: [_cpu(way) / images * 1e6 for _ in range(rounds)] for name, way in ways.items()}
    us = {name: median(times) for name, times in spent.items()}
    return {"images": images, "us": us, "times": {name: each / us["own walk"] for name, each in us.items()}}


def _transformer() -> Callable[[Any], bool]:
    turbo = library()
    turbo.tjInitTransform.restype = ctypes.c_void_p
    turbo.tjTransform.argtypes = [
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p,
        ctypes.c_void_p, ctypes.c_int,
    ]  # fmt: skip
    handle, option = turbo.tjInitTransform(), _Transform(options=NO_OUTPUT)
    made, size = ctypes.c_void_p(), ctypes.c_ulong()

    def transform(data: Any) -> bool:
        given = (data.ctypes.data, data.size, 1, ctypes.byref(made), ctypes.byref(size), ctypes.byref(option), 0)
        return bool(turbo.tjTransform(handle, *given) == 0)

    return transform


def _check(right: bool) -> None:
    if not right:
        raise ToolkitError("a file that was written here is not whole: the comparison is of no use")


def _cpu(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _show(document: dict[str, Any]) -> None:
    table = Table(title=f"Is a JPEG whole? {document['images']} files of {HEIGHT} x {WIDTH} pixels")
    for name in ("way", "us an image", "times the own walk's"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for name, each in document["us"].items():
        table.add_row(name, f"{each:,.0f}", f"{document['times'][name]:.1f}")
    Console().print(table)


if __name__ == "__main__":
    run(main)
