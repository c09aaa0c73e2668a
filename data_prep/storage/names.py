"""What names say: splits, and files that belong to somebody else's program. One list, for trees and tars alike."""

import os
import re

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Folder and file names of splits, in lower case. ``test`` serves as ``val`` where nothing is called validation."""
SPLIT = re.compile(rf"(?<![a-z])({'|'.join(sorted(SPLITS, key=len, reverse=True))})(?![a-z])")
FOREIGN = frozenset({"__macosx", "@eadir", "lost+found", "thumbs.db", "desktop.ini", "$recycle.bin"})
"""What archivers, desktops, network disks and file systems leave among other people's files, in lower case."""
NO_IMAGES = frozenset(
    ".csv .db .doc .gz .html .ini .json .jsonl .log .mat .md .npy .npz .pdf .pkl .py .rar .tar .tsv .txt"  # noqa: SIM905
    " .xls .xlsx .xml .yaml .yml .zip .7z".split()
)
"""Endings of files that people keep beside images: passed over, and counted."""


def is_foreign(name: str) -> bool:
    """Whether a path's last part is hidden, as ``.DS_Store``, ``._x.jpg``, ``.ipynb_checkpoints``, or in `FOREIGN`."""
    base = name.rpartition("/")[2]
    return base.startswith(".") or base.lower() in FOREIGN


def is_no_image(name: str) -> bool:
    """Whether a file's ending says that it is no image (`NO_IMAGES`)."""
    return os.path.splitext(name)[1].lower() in NO_IMAGES  # noqa: PTH122


def split_named(name: str) -> str | None:
    """The split, ``train``, ``val`` or ``test``, that a folder's whole name is a word for; None for any other name."""
    return SPLITS.get(name.lower())
