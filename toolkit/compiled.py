"""Machine code from Python loops, kept on disk where a folder can be written."""

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import numba

from toolkit.files import is_ours

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile ``function`` with numba, releasing the GIL, cached on disk; without a cache where none can be written.

    numba looks for a place in NUMBA_CACHE_DIR, beside the source, and in the user's cache folder, and raises
    RuntimeError when it may write to none of them (a read-only image without a home). What it finds there it runs, so
    that NUMBA_CACHE_DIR must be this user's alone.
    """
    if not _is_trusted(numba.config.CACHE_DIR):
        return numba.njit(nogil=True)(function)
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return numba.njit(nogil=True)(function)


@cache
def _is_trusted(folder: str) -> bool:
    """Whether a shared place for compiled code can be used; if not, that is said."""
    if not folder:
        return True
    try:
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        numba.config.CACHE_DIR = str(place.resolve())  # not by a link that may lead elsewhere tomorrow
        if is_ours(place.resolve()):
            return True
        why = "others may write there"
    except OSError as error:
        why = str(error.strerror)
    logging.getLogger(__name__).warning("note: NUMBA_CACHE_DIR=%s is not used (%s): compiling anew", folder, why)
    return False
