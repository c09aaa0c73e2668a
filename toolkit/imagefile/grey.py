"""Grey of 16 bits: which value is white, and the way to 8 bits."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile

BITS_PER_SAMPLE = 0x0102  # a tag of TIFF


class Range(NamedTuple):
    """Values of grey from 0, black, to ``white``."""

    white: int
    is_stated: bool
    """By the file itself; else it is what the caller takes for granted."""


def range_of(image: Image.Image, bits: int) -> Range | None:
    """The range of a file with 9 to 16 bits of grey, as Pillow opened it, before it is loaded; None for any other.

    White is the largest number of ``bits`` bits where the file says no more than that it has 16.
    """
    if isinstance(image, ImageFile.ImageFile) and (image.mode, image.format) == ("I", "PPM"):
        # A PGM; Pillow stretches all but those of full range to 16 bits.
        is_stretched = image.tile[0].codec_name != "raw"
        return Range(0xFFFF if is_stretched else (1 << bits) - 1, is_stretched)
    if not image.mode.startswith("I;16"):
        return None
    stated = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0]
    is_stated = 8 < stated < 16
    return Range((1 << (stated if is_stated else bits)) - 1, is_stated)


def bits_used(image: Image.Image, values: Range) -> int:
    """Bits of the brightest value, at least 1; 0 where the file states its range."""
    return 0 if values.is_stated else max(1, int(np.asarray(image).max()).bit_length())


def to_rgb(image: Image.Image, white: int) -> Image.Image:
    """Grey of values up to ``white`` as RGB of 8 bits, rounded; white where it is transparent."""
    values = np.asarray(image).astype(np.int64)
    grey = np.minimum((2 * 255 * values + white) // (2 * white), 255)
    if isinstance(clear := image.info.get("transparency"), int):
        grey[values == clear] = 255
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
