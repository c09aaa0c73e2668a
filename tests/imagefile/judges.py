"""What others make of files: FFCV's Loader of a .beton, OpenCV of an image, a suite of GIFs of its own ones."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from tests.conftest import real_part


def read_by_ffcv(betons):
    """Have FFCV's Loader read the files, all in one process; `seen_by_ffcv` has what it saw."""
    if importlib.util.find_spec("ffcv") is None:
        real_part("FFCV", "make setup-ffcv")
    program = Path(__file__).with_name("ffcv_reads.py")
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, program, *betons], env=environment, check=True, timeout=300)


def seen_by_ffcv(beton):
    """The images of a file, each (height, width, 3), and their labels, as FFCV's Loader yielded them."""
    with np.load(f"{beton}.npz") as arrays:
        sizes, together, labels = arrays["sizes"], arrays["bytes"], arrays["labels"]
    ends = np.cumsum(3 * sizes.prod(1))
    parts = np.split(together, ends[:-1])
    return [part.reshape(*size, 3) for part, size in zip(parts, sizes.tolist(), strict=True)], labels


def seen_by_opencv(content):
    """RGB of an image file by OpenCV's own readers, on white, from 0 to 255; None where it has no reader or refuses."""
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if image is None:
        return None
    return on_white(image.reshape(*image.shape[:2], -1) / (257 if image.dtype == np.uint16 else 1))[..., ::-1]


def on_white(values):
    """Grey or colours, perhaps followed by an opacity, (height, width, 1 to 4), as three channels."""
    if values.shape[2] in (2, 4):
        share = values[..., -1:] / 255
        values = values[..., :-1] * share + 255 * (1 - share)
    return np.broadcast_to(values, (*values.shape[:2], 3))


def said_of_gifs(folder):
    """The pixels of a GIF's first frame by the GIF's name, from the notes (.conf, .rgba) of gdk-pixbuf's suite."""
    said = {}
    for notes in folder.glob("*.conf"):
        values = dict(re.findall(r"^([a-z]+) = (.+)$", notes.read_text().partition("[frame1]")[0], re.MULTILINE))
        shape = int(values["height"]), int(values["width"]), 4
        pixels = np.fromfile(folder / values["pixels"], np.uint8) if "pixels" in values else np.empty(0)
        if pixels.size == np.prod(shape):  # of damaged ones there are none, or of another size
            said[values["input"]] = on_white(pixels.reshape(shape))
    return said
