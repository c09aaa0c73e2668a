"""Small datasets for the tests: FFCV's file format written by hand, in milliseconds."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from toolkit.imagefile.format import ALLOCATION, FIELD, HEADER, IMAGE, JPG, RAW, VERSION
from toolkit.study import Manifest, Split

ROW = np.dtype([("image", IMAGE), ("label", "<i8")], align=True)


def jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    return cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def write_beton(path: Path, images: Sequence[np.ndarray], labels: Sequence[int], raw: bool = False) -> Path:
    """A ``.beton`` of RGB images, uint8 (height, width, 3)."""
    fields = np.zeros(2, FIELD)
    for field, kind, name in zip(fields, (2, 1), (b"image", b"label"), strict=True):
        field["type_id"] = kind
        field["name"][: len(name)] = list(name)
    rows = np.zeros(len(images), ROW)
    stored = [image.tobytes() if raw else jpeg(image) for image in images]
    data = HEADER.itemsize + fields.nbytes + rows.nbytes
    offsets = data + np.concatenate([[0], np.cumsum([len(part) for part in stored])])
    for row, image, label, offset in zip(rows, images, labels, offsets, strict=False):
        row["image"] = (RAW if raw else JPG, image.shape[1], image.shape[0], offset)
        row["label"] = label
    table = np.zeros(len(images), ALLOCATION)
    table["sample_id"], table["ptr"], table["size"] = np.arange(len(images)), offsets[:-1], np.diff(offsets)
    header = np.array([(VERSION, 2, 1 << 21, len(images), offsets[-1])], HEADER)
    parts = [header.tobytes(), fields.tobytes(), rows.tobytes(), *stored, table.tobytes()]
    path.write_bytes(b"".join(parts))
    return path


def pictures(
    count: int, classes: int, height: int = 40, width: int = 48, seed: int = 0
) -> tuple[list[np.ndarray], list[int]]:
    """Images whose class is the direction and width of their stripes, under noise."""
    rng = np.random.default_rng(seed)
    labels = [i % classes for i in range(count)]
    y, x = np.mgrid[:height, :width]
    images = []
    for label in labels:
        angle = np.pi * label / classes
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 0.8 + rng.uniform(0, 6))
        image = 128 + 70 * wave[:, :, None] + rng.normal(0, 5, (height, width, 3))
        images.append(np.clip(image, 0, 255).astype(np.uint8))
    return images, labels


def write_dataset(folder: Path, train: int = 160, val: int = 40, classes: int = 4, **kwargs: int) -> Manifest:
    """A dataset folder under its own name, with train and val."""
    folder.mkdir(parents=True)
    splits = {}
    for seed, (key, count) in enumerate({"train": train, "val": val}.items()):
        images, labels = pictures(count, classes, seed=seed, **kwargs)
        path = write_beton(folder / f"{key}.beton", images, labels)
        counts = tuple(np.bincount(labels, minlength=classes).tolist())
        splits[key] = Split(file=path.name, bytes=path.stat().st_size, samples=count, class_counts=counts)
    manifest = Manifest(
        name=folder.name,
        classes=tuple(f"c{i}" for i in range(classes)),
        splits=splits,
        image_size=(40, 48),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        content_hash=f"hash-of-{folder.name}",
    )
    manifest.write(folder / "dataset.json")
    return manifest
