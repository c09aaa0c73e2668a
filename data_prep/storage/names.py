"""What names say: splits, and files that belong to somebody else's program. One list, for trees and tars alike."""

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
NO_IMAGES = frozenset({
    ".7z", ".csv", ".db", ".doc", ".gz", ".html", ".ini", ".json", ".jsonl", ".log", ".mat", ".md", ".npy", ".npz",
    ".pdf", ".pkl", ".py", ".rar", ".tar", ".tsv", ".txt", ".xls", ".xlsx", ".xml", ".yaml", ".yml", ".zip",
})  # fmt: skip
"""Endings of files that people keep beside images: passed over, and counted."""


def is_foreign(name: str) -> bool:
    """Whether a path's last part is hidden, as ``.DS_Store``, ``._x.jpg``, ``.ipynb_checkpoints``, or in `FOREIGN`."""
    base = name.rpartition("/")[2]
    return base.startswith(".") or base.lower() in FOREIGN


def ending(name: str) -> str:
    """A file name's ending in lower case, with its dot; empty where there is none (``.hidden`` has none)."""
    stem, dot, last = name.rpartition("/")[2].rpartition(".")
    return f".{last.lower()}" if stem and dot else ""


def split_named(name: str) -> str | None:
    """The split, ``train``, ``val`` or ``test``, that a folder's whole name is a word for; None for any other name."""
    return SPLITS.get(name.lower())
