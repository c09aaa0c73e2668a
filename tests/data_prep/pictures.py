"""Pictures and samples for the tests."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep.storage.samples import Sample


def photo(seed, width=64, height=48):
    """Smooth, photograph-like RGB pixels, (height, width, 3)."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (max(2, height // 16), max(2, width // 16), 3), dtype=np.uint8)
    big = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(big + rng.integers(-6, 7, big.shape), 0, 255).astype(np.uint8)


def file_bytes(pixels, format="JPEG", **options):
    """The pixels as an image file."""
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, format, **options)
    return buffer.getvalue()


def jpeg(seed, width=64, height=48, quality=90):
    return file_bytes(photo(seed, width, height), quality=quality)


def samples(count, classes=3, first=0):
    """JPEG samples, classes in turn."""
    return [Sample(f"{first + i}.jpg", i % classes, jpeg(first + i)) for i in range(count)]


def tree(root: Path, classes=("cat", "dog"), images=5, splits=("train", "val")):
    """A folder per class and split; returns ``root``."""
    for number, split in enumerate(splits):
        for label, name in enumerate(classes):
            (root / split / name).mkdir(parents=True, exist_ok=True)
            for i in range(images):
                (root / split / name / f"{i}.jpg").write_bytes(jpeg(1000 * number + 100 * label + i))
    return root
