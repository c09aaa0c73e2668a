"""Pictures for benchmarks: noise with the spectrum of photographs, which JPEG compresses as it does photographs."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from data_prep.storage.samples import File, Sample
from data_prep.writing.dataset import DatasetInfo, write_dataset


def scenery(height: int, width: int, seed: int, slope: float = 1.0) -> npt.NDArray[np.uint8]:
    """An RGB image (height, width, 3) whose amplitudes fall with the frequency to the power of ``slope``, mostly grey.

    A higher slope means less detail, and so fewer bytes as a JPEG.
    """
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    planes = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((4, height, width))) / frequency**slope, (height, width))
    planes /= planes.std(axis=(1, 2), keepdims=True)
    mixed = planes[0] + 0.35 * planes[1:]
    return np.clip(128 + 48 * np.moveaxis(mixed, 0, 2), 0, 255).astype(np.uint8)


def write_tree(
    root: Path, images: int, classes: int, height: int, width: int, quality: int = 90, slope: float = 1.0
) -> list[Path]:
    """A folder a class with JPEG files; returns the files. Image i is of class i modulo ``classes``."""
    files = []
    for i in range(images):
        file = root / f"class-{i % classes}" / f"{i:05d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.ascontiguousarray(scenery(height, width, i, slope)[:, :, ::-1])
        file.write_bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())
        files.append(file)
    return files


def write_beton(root: Path, images: int, classes: int, height: int, width: int) -> Path:
    """`write_tree` at ``root``/tree and a dataset of the same bytes at ``root``/dataset; returns the latter."""
    files = write_tree(root / "tree", images, classes, height, width)
    samples = [Sample(str(file), i % classes, File(str(file))) for i, file in enumerate(files)]
    about = DatasetInfo([f"class-{i}" for i in range(classes)])
    write_dataset(root / "dataset", {"train": samples, "val": samples[: max(images // 8, 1)]}, about)
    return root / "dataset"
