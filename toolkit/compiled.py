"""Machine code from Python loops, kept on disk where a folder can be written."""

from collections.abc import Callable
from typing import TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile ``function`` with numba, releasing the GIL, cached on disk; without a cache where none can be written.

    numba looks for a place in NUMBA_CACHE_DIR, beside the source, and in the user's cache folder, and raises
    RuntimeError when it may write to none of them (a read-only image without a home).
    """
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return numba.njit(nogil=True)(function)
