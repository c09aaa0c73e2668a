"""Folders of images, and what to do where a source has no validation split."""

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from data_prep.storage.samples import Files, Picked, Sample
from toolkit.errors import UsageError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
HELD_OUT = 0.1
Splits = Mapping[str, Sequence[Sample]]


def class_folders(root: Path) -> list[str]:
    """Names of the folders in ``root``, sorted: the classes, in the order of their labels."""
    if not root.is_dir():
        raise UsageError(f"{root} is no folder; it should hold one folder of images per class")
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))


def class_tree(root: Path, classes: Sequence[str]) -> Files:
    """The images below ``root/CLASS/``, class after class, each class's names sorted (as torchvision has them).

    Raises `UsageError` for a class without images.
    """
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(images_below(root, name))
        if not found:
            raise UsageError(f"{root / name} holds no images ({', '.join(EXTENSIONS)}): remove the folder, or fill it")
        names += found
        labels += [label] * len(found)
    return Files(root, names, labels)


def images_below(root: Path, folder: str = "") -> Iterator[str]:
    """Paths, relative to ``root``, of everything below ``root/folder`` that has an image's name.

    Directories of such a name count too: whether something is an image is for the writer to see and to say.
    """
    with os.scandir(root / folder) as entries:
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.lower().endswith(EXTENSIONS):
                yield name
            elif entry.is_dir():
                yield from images_below(root, name)


def hold_out(
    samples: Sequence[Sample], labels: Sequence[int], seed: int, share: float = HELD_OUT
) -> tuple[Splits, str]:
    """Split off ``share`` of each class (at least one image) for validation; returns the splits and the rule in words.

    Both keep the order of ``samples``. Raises `UsageError` for a class of one image.
    """
    by_class = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(np.asarray(labels)[by_class], prepend=-1))
    chosen = np.zeros(len(samples), bool)
    for numbers in np.split(by_class, starts[1:]):
        if len(numbers) < 2:
            raise UsageError(f"class {labels[numbers[0]]} has one image: too few for a training and a validation split")
        held = random.Random(f"{seed}/{labels[numbers[0]]}").sample(
            range(len(numbers)), max(1, round(share * len(numbers)))
        )
        chosen[numbers[held]] = True
    rule = f"{share:.0%} of each class held out, seed {seed} (the source has no validation split)"
    splits = {name: Picked(samples, np.flatnonzero(of).tolist()) for name, of in (("train", ~chosen), ("val", chosen))}
    return splits, rule
