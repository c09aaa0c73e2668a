"""What was once read of many files, remembered in one: it may be removed at any time, and is never the truth."""

import contextlib
from pathlib import Path
from typing import Any

import orjson

from toolkit.files import read_regular, write_atomic

NONSENSE = (ValueError, TypeError, LookupError, AttributeError)
"""What using it raises when another version wrote it, or nobody of this project."""


def recall(path: Path) -> Any:
    """The document that `remember` wrote; an empty one where there is none that can be read."""
    try:
        return orjson.loads(read_regular(path))
    except (OSError, ValueError):
        return {}


def remember(path: Path, document: object) -> None:
    """Write it, unless there is no right or no room to: then the files themselves are read again next time."""
    with contextlib.suppress(OSError):
        write_atomic(path, orjson.dumps(document, default=tuple))
