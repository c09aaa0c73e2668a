"""A dataset's folder: under a temporary name until it is whole, then under its own."""

import ctypes
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from toolkit.errors import ToolkitError, UsageError
from toolkit.files import TEMPORARY, NotRegular, regular, temporary_name

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux's fcntl.h and stdio.h
LOCK = "lock"  # held by the process that writes the folder; a killed one lets go


@contextmanager
def new_folder(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside ``path``; when the block ends well, it becomes ``path``, else it is removed.

    What killed runs left behind is removed first. Raises `UsageError` when ``path`` is there and ``overwrite`` is not
    given, and `ToolkitError` when the disk is full or the place cannot be written.
    """
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already; give --overwrite to write it anew, or another --name")
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        temporary.mkdir()
        with (temporary / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield temporary
            (temporary / LOCK).unlink()
            _put_in_place(temporary, path)
    except OSError as error:
        raise ToolkitError(
            f"{path} cannot be written ({error.strerror or error}): make room or write elsewhere, then run it again"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Remove temporary folders of ``path`` whose writer is gone."""
    for leftover in path.parent.glob(f"{TEMPORARY}*"):
        if leftover.name.endswith(f"-{path.name}") and not _is_held(leftover):
            shutil.rmtree(leftover, ignore_errors=True)


def _is_held(folder: Path) -> bool:
    with suppress(FileNotFoundError, NotRegular), regular(folder / LOCK) as (lock, _):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _put_in_place(temporary: Path, path: Path) -> None:
    if path.exists() and _exchange(temporary, path):
        return  # what now has the temporary name is removed
    aside = temporary_name(path)
    if path.exists():
        path.replace(aside)
    temporary.replace(path)
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Have two folders change their names in one step, so that a kill finds either whole; False where that cannot be.

    Linux's renameat2, which network file systems may lack.
    """
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    return renameat2 is not None and not renameat2(
        AT_FDCWD, os.fsencode(one.absolute()), AT_FDCWD, os.fsencode(other.absolute()), RENAME_EXCHANGE
    )
