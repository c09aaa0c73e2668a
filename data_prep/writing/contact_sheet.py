"""The contact sheet: some images of each class, read from the finished file, so that a person can check the labels."""

from functools import partial

import numpy as np
from PIL import Image, ImageDraw

from data_prep.writing.process_pool import available_cores, in_threads
from toolkit.imagefile.format import BadImage, broken
from toolkit.imagefile.images import thumbnail
from toolkit.imagefile.reader import Beton
from toolkit.study.dataset import Manifest

ROWS, COLUMNS = 25, 8
"""Classes shown at most (evenly spread over all) and images of each."""
TILE, MARGIN, NAME_WIDTH, LINE = 96, 4, 200, 16  # pixels


def contact_sheet(beton: Beton, manifest: Manifest) -> Image.Image:
    """A row of images a class, after its name, from ``beton``, the first split's file; a last line where some are not.

    Raises `ToolkitError` when one of them cannot be decoded.
    """
    classes = manifest.classes
    rows = _rows(len(classes))
    step = TILE + MARGIN
    said = shown(len(classes))
    height = len(rows) * step + MARGIN + (LINE if said else 0)
    sheet = Image.new("RGB", (NAME_WIDTH + COLUMNS * step, height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, height - LINE), said, fill="black")
    places: dict[int, tuple[int, int]] = {}
    for row, label in enumerate(rows):
        top = MARGIN + row * step
        draw.text((MARGIN, top), _caption(manifest, label), fill="black")
        for column, number in enumerate(_evenly(np.flatnonzero(beton.labels == label))):
            places[number] = NAME_WIDTH + column * step, top
    for number, picture in in_threads(partial(_thumbnail, beton), places, available_cores()):
        sheet.paste(picture, places[number])
    return sheet


def shown(classes: int) -> str:
    """What of the classes a sheet shows, in words; empty: all of them."""
    return f"{ROWS} of {classes:,} classes, evenly spread" if classes > ROWS else ""


def _rows(classes: int) -> list[int]:
    return np.unique(np.linspace(0, classes - 1, min(ROWS, classes)).round().astype(int)).tolist()


def _thumbnail(beton: Beton, number: int) -> Image.Image:
    try:
        return thumbnail(beton.image(number), TILE)
    except BadImage as reason:
        raise broken(beton.path, f"sample {number} cannot be decoded ({reason})") from reason


def _evenly(numbers: np.ndarray) -> list[int]:
    return numbers[np.unique(np.linspace(0, len(numbers) - 1, min(COLUMNS, len(numbers))).astype(int))].tolist()


def _caption(manifest: Manifest, label: int) -> str:
    name = manifest.class_names[label] if manifest.class_names else ""
    words = [
        f"{label}: {manifest.classes[label]}",
        name,
        f"{next(iter(manifest.splits.values())).class_counts[label]} images",
    ]
    return "\n".join(word[:32].encode("latin-1", "replace").decode("latin-1") for word in words if word)
