"""The libjpeg-turbo inside the wheel of simplejpeg: a decoder where the system has no libturbojpeg, without root."""

import numpy as np
import simplejpeg

from toolkit.imagefile.format import Pixels
from toolkit.imagefile.jpeg.headers import Bytes, DamagedImage, is_harmless
from toolkit.imagefile.jpeg.turbo import DECODABLE, FAST_DCT, Header, Turbo, library

COLOURS = ("RGB", "YCbCr", "Gray", "CMYK", "YCCK")
"""In the order of the numbers that libturbojpeg gives them (TJCS)."""


class Bundled:
    """What `toolkit.imagefile.jpeg.turbo.Turbo` does, with the same pixels and the same complaints."""

    def header(self, data: Bytes) -> Header:
        """What a JPEG file, (bytes,), says of itself. Raises `DamagedImage` with whatever the library says of it."""
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        except ValueError as error:
            raise DamagedImage(str(error)) from error
        if min(height, width) < 1:
            raise DamagedImage("has tables alone, no picture")
        return Header(width, height, COLOURS.index(colours))

    def decode(self, data: Bytes, out: Pixels, transform: int) -> bool:
        """Fill ``out``, (height, width, 3) of RGB, whole or a 2nd, 4th or 8th of the file's sides, rounded up.

        Returns whether the library was silent, as `Turbo.decode`. Raises `DamagedImage` for a harmful complaint.
        """
        try:
            self._decode(data, out, transform, strict=True)
        except ValueError as error:
            if not is_harmless(str(error)):
                raise DamagedImage(str(error)) from error
            self._decode(data, out, transform, strict=False)
            return False
        return True

    def _decode(self, data: Bytes, out: Pixels, transform: int, strict: bool) -> None:
        height, width, _ = out.shape
        header = self.header(data)
        if header.colours not in DECODABLE:  # simplejpeg would turn them into some RGB, libturbojpeg does not
            raise DamagedImage(f"colours {COLOURS[header.colours]} cannot be turned into RGB")
        factor = max(1, round(header.height / height))
        pixels = simplejpeg.decode_jpeg(
            data,
            fastdct=transform == FAST_DCT,
            min_height=height,
            min_width=width,
            min_factor=factor,
            buffer=out,
            strict=strict,
        )
        assert np.shape(pixels) == out.shape


def jpeg_decoder() -> Turbo | Bundled:
    """A decoder for one thread: the system's libturbojpeg, as FFCV, else the one in simplejpeg's wheel."""
    return Turbo() if library() else Bundled()
