"""Fetch the same images from a server on this machine: as the stage download does, and as one would write it.

Rates are images for each second of processor time (all processes of the fetching side; the server is not counted) and
images for each second that passed. The ratio is of the processor times in this one run. Then the stage clean looks at
what came.
"""

import io
import multiprocessing
import os
import resource
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl

from data_prep.imagenot import options
from data_prep.imagenot.build import Build
from data_prep.imagenot.stages import clean, download
from toolkit.benchmarks._scenery import scenery
from toolkit.cli import parser, print_json, run
from toolkit.errors import ToolkitError

DISTINCT = 64
PATIENT = {"timeout_s": 300, "total_s": 600}
"""On a machine with other work no image shall count as dead."""
LOCAL = {"contact": "bench@localhost", "allow_private": True, "probe": (), "per_host": 64}


def main(argv: Sequence[str]) -> int:
    """Time both and print the ratio."""
    arguments = parser("toolkit.bench download", __doc__)
    arguments.add_argument("--images", type=int, default=5000, help="URLs of the shard (default 5000)")
    arguments.add_argument("--side", type=int, default=640, help="pixels of an image's longer side (default 640)")
    arguments.add_argument("--img2dataset", metavar="PYTHON", help="time img2dataset too, in a Python that has it")
    arguments.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    given = arguments.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, server(given.side) as address:
        document = measure(Path(folder), address, given.images, given.img2dataset)
    if given.json:
        print_json(document)
    else:
        print("\n".join(f"{name:28} {value:,.4g}" for name, value in document.items()))
    return 0


def measure(folder: Path, address: str, images: int, python: str | None) -> dict[str, float]:
    """Rates of the stage and of its peers, the processor time of a shard of ten images, and the rate of clean."""
    start = _timed(partial(_stage, folder / "start", address, 10))
    stage = _timed(partial(_stage, folder / "stage", address, images))
    peers = {"plain": _timed(partial(_plain, folder, address, images))}
    if python:
        peers["img2dataset"] = _timed(partial(_img2dataset, python, folder, address, images))
    clean = _timed(partial(_clean, folder / "stage"))
    tar = folder / "stage" / "download" / "00-00000" / "00000.tar"
    return {
        "images": images,
        **{f"{name}_images_per_core_s": images / taken[0] for name, taken in {"stage": stage, **peers}.items()},
        **{f"stage_over_{name}": taken[0] / stage[0] for name, taken in peers.items()},
        **{f"{name}_images_per_s": images / taken[1] for name, taken in {"stage": stage, **peers}.items()},
        "start_of_a_shard_core_s": start[0],
        "bytes_per_image": tar.stat().st_size / images,
        "clean_images_per_core_s": images / clean[0],
    }


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds of processor time of this process and those it starts, and seconds that passed."""
    before, began = _processor_s(), time.perf_counter()
    work()
    return _processor_s() - before, time.perf_counter() - began


def _processor_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _stage(folder: Path, address: str, images: int) -> None:
    wanted = options.changed(options.Options(), "select", {"per_class": images})
    build = Build(folder, options.changed(wanted, "download", PATIENT | LOCAL | {"shard_urls": images}))
    build.save(build.options)
    build.room("select").mkdir()
    selected(address, images).write_parquet(build.room("select") / "selected.parquet")
    download.plan(build)
    download.run(build, "00-00000")
    if (found := build.counts("download", "00-00000")["success"]) != images:
        raise ToolkitError(f"{found} of {images} images came")


def _clean(folder: Path) -> None:
    clean.run(Build.open(folder), "00-00000")


def _plain(folder: Path, address: str, images: int) -> None:
    """What one would write: a pool of threads, urllib, OpenCV, a tar."""

    def fetched(number: int) -> bytes:
        with urllib.request.urlopen(f"{address}/{number}", timeout=300) as answer:
            pixels: Any = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
        scale = 256 / min(pixels.shape[:2])
        if scale < 1:
            pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        encoded: bytes = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        return encoded

    cv2.setNumThreads(0)
    with tarfile.open(folder / "plain.tar", "w") as tar, ThreadPoolExecutor(64) as pool:
        for number, content in enumerate(pool.map(fetched, range(images))):
            entry = tarfile.TarInfo(f"{number:09d}.jpg")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def _img2dataset(python: str, folder: Path, address: str, images: int) -> None:
    """img2dataset in a Python that has it, told to do the same."""
    given = folder / "given.parquet"
    selected(address, images).select("url", "caption").write_parquet(given)
    same = {"image_size": 256, "resize_mode": "keep_ratio", "resize_only_if_bigger": True, "encode_quality": 95}
    tables = {"url_list": str(given), "input_format": "parquet", "url_col": "url", "caption_col": "caption"}
    tables |= {"output_folder": str(folder / "img2dataset"), "output_format": "webdataset"}
    shards = {"number_sample_per_shard": 1_000_000, "processes_count": 1, "thread_count": 64, "timeout": 300}
    code = f"import img2dataset; img2dataset.download(**{tables | shards | same})"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([python, "-c", code], check=True, capture_output=True, env=environment)


def selected(address: str, images: int) -> "Any":
    """What select leaves: URLs of one class, in order of rank."""
    number = pl.int_range(images, eager=True)
    same = {"class": "n00015388", "caption": "animal", "score": 0.6, "license": "?", "similarity": 0.3}
    return pl.DataFrame(
        {
            "id": number.cast(pl.String),
            "url": pl.select(pl.format(f"{address}/{{}}", number)).to_series(),
            "rank": number,
            "sample_id": number.cast(pl.String),
        }
    ).with_columns(**{name: pl.lit(value) for name, value in same.items()})


@contextmanager
def server(side: int) -> Iterator[str]:
    """A web server of images in a process of its own; its address."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, side), daemon=True)
    process.start()
    yield f"http://127.0.0.1:{ours.recv()}"
    process.terminate()
    process.join()


def _serve(pipe: Connection, side: int) -> None:
    images = [_picture(number, side) for number in range(DISTINCT)]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = images[int(self.path[1:]) % DISTINCT]
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        pipe.send(http.server_port)
        http.serve_forever()


def _picture(number: int, side: int) -> bytes:
    pixels = scenery(side * 3 // 4, side, number)
    encoded: bytes = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    return encoded


if __name__ == "__main__":
    run(main)
