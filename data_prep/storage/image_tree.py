"""Folders of images, and what to do where a source has no validation split."""

import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from data_prep.storage.names import NO_IMAGES, ending, is_foreign
from data_prep.storage.samples import Files, Picked, Sample
from toolkit.errors import UsageError

EXTENSIONS = (
    ".avif", ".bmp", ".gif", ".heic", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm",
    ".tif", ".tiff", ".webp",
)  # fmt: skip
HELD_OUT = 0.1
Splits = Mapping[str, Sequence[Sample]]


def class_folders(root: Path) -> list[str]:
    """Names of the folders in ``root``, sorted: the classes, in the order of their labels."""
    if not root.is_dir():
        raise UsageError(f"{root} is no folder; it should hold one folder of images per class")
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not is_foreign(entry.name))


def class_tree(root: Path, classes: Sequence[str], follow: bool = False) -> Files:
    """The files below ``root/CLASS/``, class after class, each class's names sorted (as torchvision has them).

    Every file counts as an image but those that `data_prep.storage.names` knows for something else: whether it is one
    is for the writer to see and to say. Those passed over are counted by their ending.
    Raises `UsageError` for a class without images, and for a link out of the tree unless these are to be followed.
    """
    passed_over: Counter[str] = Counter()
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        check_link(root, name, follow)
        found = []
        for path in files_below(root, name, follow):
            if (kind := ending(path)) in NO_IMAGES:
                passed_over[kind] += 1
            else:
                found.append(path)
        if not found:
            raise UsageError(f"{root / name} holds no images: remove the folder, or fill it")
        names += sorted(found)
        labels += [label] * len(found)
    return Files(root, names, labels, passed_over)


def images_below(root: Path) -> tuple[list[str], Counter[str]]:
    """Paths, relative to ``root``, of everything below it that has an image's name, sorted; other files by ending."""
    images: list[str] = []
    passed_over: Counter[str] = Counter()
    for name in files_below(root):
        if name.lower().endswith(EXTENSIONS):
            images.append(name)
        else:
            passed_over[ending(name) or "without ending"] += 1
    return sorted(images), passed_over


def files_below(root: Path, folder: str = "", follow: bool = False) -> Iterator[str]:
    """Paths, relative to ``root``, of the files below ``root/folder``, without what belongs to other programs.

    Folders with an image's name count as files. Raises `UsageError` for a link that leads out of the tree, where a
    stranger's archive could point at anything (unless ``follow``), or back to a folder that it is in.
    """
    folders = [folder]
    while folders:
        folder = folders.pop()
        for entry in _entries(root / folder):
            if is_foreign(entry.name):
                continue
            name = f"{folder}/{entry.name}" if folder else entry.name
            if not check_link(root, name, follow):
                yield name
            elif entry.is_dir() and not entry.name.lower().endswith(EXTENSIONS):
                folders.append(name)
            else:
                yield name


def _entries(folder: Path) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UsageError(f"{str(folder)[:200]} cannot be read ({error.strerror})") from error


def check_link(root: Path, name: str, follow: bool = False) -> bool:
    """Whether what lies at ``root/name`` can be read; a link that leads in a circle cannot.

    Raises `UsageError` for a link out of the tree, unless such are to be followed, and for one to a folder around it.
    """
    if not (root / name).is_symlink():
        return True
    try:
        target = (root / name).resolve()
    except (OSError, RuntimeError):
        return False
    if not follow and not target.is_relative_to(root.resolve()):
        raise UsageError(
            f"{root / name} is a link out of the tree, to {target}: copy what is meant (imagefolder has --follow-links)"
        )
    if (root / name).parent.resolve().is_relative_to(target):
        raise UsageError(f"{root / name} is a link to a folder that it is in: remove it")
    return True


def hold_out(
    samples: Sequence[Sample], labels: Sequence[int], seed: int, classes: Sequence[str] = (), share: float = HELD_OUT
) -> tuple[Splits, str]:
    """Split off ``share`` of each class (at least one image) for validation; returns the splits and the rule in words.

    Both keep the order of ``samples``. Raises `UsageError` for a class of one image, by its name in ``classes``.
    """
    by_class = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(np.asarray(labels)[by_class], prepend=-1))
    chosen = np.zeros(len(samples), bool)
    for numbers in np.split(by_class, starts[1:]):
        if len(numbers) < 2:
            label = labels[numbers[0]]
            name = classes[label] if classes else label
            raise UsageError(f"class {name} has one image: too few for a training and a validation split")
        held = random.Random(f"{seed}/{labels[numbers[0]]}").sample(
            range(len(numbers)), max(1, round(share * len(numbers)))
        )
        chosen[numbers[held]] = True
    rule = f"{share:.0%} of each class held out, seed {seed} (the source has no validation split)"
    splits = {name: Picked(samples, np.flatnonzero(of).tolist()) for name, of in (("train", ~chosen), ("val", chosen))}
    return splits, rule
