"""libturbojpeg, the library FFCV decodes with, bound once: its headers and pixels, and what it had to say of a file.

The interface is that of its versions 2 and 3 (``turbojpeg.h``). It runs without Python's lock, so threads are enough.
"""

import ctypes
import ctypes.util
from functools import cache
from typing import Any, NamedTuple

from toolkit.imagefile.format import Pixels
from toolkit.imagefile.jpeg.headers import Bytes, DamagedImage, is_harmless

RGB = 0  # TJPF_RGB
EXACT, FAST_DCT = 0, 2048  # flags: TJFLAG_FASTDCT
WARNING = 0  # TJERR_WARNING
DECODABLE = (0, 1, 2)
"""Colours of a file that it turns into RGB: RGB, YCbCr, grey; it does not know how to with CMYK and YCCK."""


class Header(NamedTuple):
    """What a JPEG file says of itself."""

    width: int
    height: int
    colours: int


@cache
def library() -> Any:
    """The system's libturbojpeg, or None where there is none."""
    try:
        library = ctypes.CDLL(ctypes.util.find_library("turbojpeg") or "libturbojpeg.so.0")
    except OSError:
        return None
    pointer, number, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_ulong
    library.tjInitDecompress.restype = pointer
    library.tjDestroy.argtypes = [pointer]
    library.tjDecompressHeader3.argtypes = [pointer, pointer, size, *[ctypes.POINTER(number)] * 4]
    library.tjDecompress2.argtypes = [pointer, pointer, size, pointer, number, number, number, number, number]
    library.tjGetErrorStr2.argtypes = [pointer]
    library.tjGetErrorStr2.restype = ctypes.c_char_p
    library.tjGetErrorCode.argtypes = [pointer]
    return library


class Turbo:
    """A handle of the library, for one thread at a time. Every return code is looked at."""

    def __init__(self) -> None:
        self._library: Any = library()
        self._handle = self._library.tjInitDecompress()

    def __del__(self) -> None:
        self._library.tjDestroy(self._handle)

    def header(self, data: Bytes) -> Header:
        """What a JPEG file, (bytes,), says of itself. Raises `DamagedImage` with whatever the library says of it."""
        values = [ctypes.c_int() for _ in range(4)]  # width, height, subsampling, colours
        if self._library.tjDecompressHeader3(self._handle, data.ctypes.data, data.size, *map(ctypes.byref, values)):
            said = self._message()
            self._renew()
            raise DamagedImage(said)
        if values[0].value < 1 or values[1].value < 1:
            raise DamagedImage("has tables alone, no picture")
        return Header(values[0].value, values[1].value, values[3].value)

    def decode(self, data: Bytes, out: Pixels, transform: int) -> bool:
        """Fill ``out``, (height, width, 3) of RGB, whole or a 2nd, 4th or 8th of the file's sides, rounded up.

        ``transform`` is `EXACT` or `FAST_DCT`. Returns whether the library was silent; its first complaint may have
        been a harmless one. Raises `DamagedImage` for any other.
        """
        height, width, _ = out.shape
        status = self._library.tjDecompress2(
            self._handle, data.ctypes.data, data.size, out.ctypes.data, width, 0, height, RGB, transform
        )
        if status and not (self._library.tjGetErrorCode(self._handle) == WARNING and is_harmless(self._message())):
            raise DamagedImage(self._message())
        return status == 0

    def _renew(self) -> None:
        """A handle whose header failed is left in the middle of that file, and would read the next one from there."""
        self._library.tjDestroy(self._handle)
        self._handle = self._library.tjInitDecompress()

    def _message(self) -> str:
        """The first of the library's complaints: it keeps no other."""
        said: bytes = self._library.tjGetErrorStr2(self._handle)
        return said.decode(errors="replace")
