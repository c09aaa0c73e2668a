"""One image from its stored bytes to the pixels a net sees, decoding no more than the crop needs.

JPEG goes through libturbojpeg, resizing through OpenCV; both run without Python's lock, so threads are enough. Damage
raises, it never leaves the picture of before.
"""

import cv2
import numpy as np

from toolkit.errors import ToolkitError
from toolkit.imagefile.format import JPG, Pixels
from toolkit.imagefile.jpeg.bundled import jpeg_decoder
from toolkit.imagefile.jpeg.headers import BASELINE, Bytes, DamagedImage, frame_header, sides
from toolkit.imagefile.jpeg.turbo import FAST_DCT
from toolkit.imagefile.reader import Beton

ROWS = 16
"""Rows of pixels in the tallest coding unit (4:2:0)."""


class CorruptSample(ToolkitError):
    """A sample that cannot be decoded, named by its number in the file."""

    def __init__(self, beton: Beton, sample: int, reason: object) -> None:
        super().__init__(
            f"sample {sample} of {beton.path} is corrupt ({reason}); write the file again, or train with --corrupt skip"
        )
        self.sample = sample


class Decoder:
    """What one thread needs to decode: a handle and two buffers that grow to the largest image seen."""

    def __init__(self) -> None:
        cv2.setNumThreads(0)
        self._turbo = jpeg_decoder()
        self._file = np.empty(0, np.uint8)
        self._pixels = np.empty(0, np.uint8)

    def jpeg(self, data: Bytes, height: int, width: int, bottom: int = 0, shrink: int = 1) -> Pixels:
        """Decode a JPEG file of ``height`` x ``width`` to (rows, columns, 3), valid until the next call.

        Only the rows down to ``bottom`` are sure to be there (0: all), and both sides are divided by ``shrink``
        (1, 2, 4, 8; rounded up) in the transform itself. Raises `DamagedImage`.
        """
        frame = frame_header(data)
        if sides(data, frame) != (height, width):
            raise DamagedImage(f"the JPEG says {sides(data, frame)}, the table {(height, width)}")
        rows = min(height, -(-(bottom + 1) // ROWS) * ROWS) if bottom and data[frame + 1] == BASELINE else height
        if rows < height:
            try:
                return self._decoded(self._ending_at(data, frame, rows), rows, width, shrink)
            except DamagedImage:
                pass  # what follows the cut may have been upset by it: only the whole file tells damage
        return self._decoded(data, height, width, shrink)

    def _decoded(self, data: Bytes, rows: int, width: int, shrink: int) -> Pixels:
        shape = (-(-rows // shrink), -(-width // shrink), 3)
        self._pixels = _grown(self._pixels, shape[0] * shape[1] * 3)
        pixels = self._pixels[: shape[0] * shape[1] * 3].reshape(shape)
        self._turbo.decode(data, pixels, FAST_DCT)
        return pixels

    def _ending_at(self, data: Bytes, frame: int, rows: int) -> Bytes:
        """A copy of a JPEG file whose frame header says ``rows``: decoding ends there."""
        self._file = _grown(self._file, data.size)
        copy = self._file[: data.size]
        copy[:] = data
        copy[frame + 5], copy[frame + 6] = rows >> 8, rows & 255
        return copy

    def picture(self, beton: Beton, sample: int, box: tuple[int, int, int, int], flip: bool, out: Pixels) -> None:
        """Write a sample's ``box`` (top, left, height, width), resized, perhaps mirrored, to ``out`` (side, side, 3).

        Raises `CorruptSample`.
        """
        try:
            region = self._region(beton, sample, box, min(out.shape[:2]))
            resize(region, out)
        except (DamagedImage, cv2.error) as error:
            raise CorruptSample(beton, sample, error) from error
        if flip:
            cv2.flip(out, 1, dst=out)

    def _region(self, beton: Beton, sample: int, box: tuple[int, int, int, int], side: int) -> Pixels:
        top, left, h, w = box
        height, width = int(beton.heights[sample]), int(beton.widths[sample])
        data = beton.encoded(sample)
        if beton.modes[sample] != JPG:
            if data.size != height * width * 3:
                raise DamagedImage(f"{data.size} bytes for {height} x {width} raw pixels")
            return data.reshape(height, width, 3)[top : top + h, left : left + w]
        shrink = shrinkage(min(h, w), side)
        pixels = self.jpeg(data, height, width, bottom=top + h, shrink=shrink)
        return pixels[top // shrink : -(-(top + h) // shrink), left // shrink : -(-(left + w) // shrink)]


def shrinkage(crop: int, side: int) -> int:
    """The largest of 1, 2, 4, 8 that leaves a crop of ``crop`` pixels with no fewer than ``side``."""
    return next(n for n in (8, 4, 2, 1) if crop >= n * side or n == 1)


def resize(region: Pixels, out: Pixels) -> None:
    """Resize to ``out``: over areas when a side shrinks to half and less, else bilinear."""
    far = min(region.shape[0] / out.shape[0], region.shape[1] / out.shape[1]) >= 2
    cv2.resize(region, (out.shape[1], out.shape[0]), dst=out, interpolation=cv2.INTER_AREA if far else cv2.INTER_LINEAR)


def _grown(buffer: Bytes, size: int) -> Bytes:
    return buffer if buffer.size >= size else np.empty(size, np.uint8)
