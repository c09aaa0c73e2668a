"""Writes that are whole or not there: a temporary name, fsync, rename."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".tmp-"  # the prefix of names that no reader opens


def temporary_name(path: Path) -> Path:
    """A name beside ``path``, unique to this process and call, that no reader of this project opens."""
    return path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}-{path.name}"[:250])


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well, sync it and give it the name ``path``.

    When the block raises, the temporary file is removed and ``path`` is as it was.
    """
    temporary = temporary_name(path)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``; after a crash or a full disk the old file or the new one is there, whole."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)
