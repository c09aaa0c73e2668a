"""One image: from whatever a researcher's disk holds to the bytes that go into a ``.beton``.

libturbojpeg is what FFCV decodes with, so it judges which JPEGs may pass through as they are;
`toolkit.imagefile.jpeg.whole` spares it those that are beyond doubt. Everything else goes through Pillow.
"""

import io
import threading
import warnings
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from toolkit.imagefile.format import JPG, PAGE_SIZE, RAW, BadImage, Encoded, Pixels
from toolkit.imagefile.grey import bits_used, range_of, to_rgb
from toolkit.imagefile.jpeg.bundled import jpeg_decoder
from toolkit.imagefile.jpeg.headers import DamagedImage, frame_header, has_end, image_end, sides
from toolkit.imagefile.jpeg.turbo import DECODABLE, EXACT
from toolkit.study.dataset import Encoding

MAX_PIXELS = 178_956_970
"""Pillow's limit, held to for every format: decoded, such an image takes half a GB."""
MAX_TAIL = 1 << 18
"""Bytes behind a JPEG's end that stay with it (our choice): more are a film, or further pictures, of some camera."""
MAX_SIDE = 65_500
"""What libjpeg takes; the format itself ends at 65,535."""
ORIENTATION = 0x0112  # a tag of EXIF
JPEG_SCALES = (8, 4, 2)  # decoding at 1/8, 1/4, 1/2 skips most of the work and averages as it goes


FORMATS = ("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may open. Among its others are PostScript, which it hands to Ghostscript, and mere containers."""


class _Own(threading.local):
    """The decoder of a thread."""

    def __init__(self) -> None:
        self.turbo = jpeg_decoder()


_own = _Own()


def fitting(contents: Sequence[bytes], encoding: Encoding) -> list[tuple[int, int] | None]:
    """Width and height of each JPEG that can pass through beyond doubt; None for anything else.

    Several at once take half the time of one after another.
    """
    from toolkit.imagefile.jpeg.whole import whole  # brings numba, which only those who write need

    def fits(width: int, height: int) -> bool:
        return target_size(width, height, encoding) == (width, height) and width * height <= MAX_PIXELS

    return [
        (found.width, found.height) if found and not (found.has_exif and _may_be_turned(content)) else None
        for content, found in zip(contents, whole(contents, fits), strict=True)
    ]


def encode(
    content: bytes | Pixels, encoding: Encoding, raw: bool = False, fits: tuple[int, int] | None = None
) -> Encoded:
    """The image as ``encoding`` wants it; a JPEG that fits already is returned as it is.

    ``content`` is an image file's bytes or RGB pixels; ``raw`` stores pixels where ``encoding`` would store a JPEG;
    ``fits`` is what `fitting` said of it, and only saves time. Raises `BadImage` with the reason.
    """
    raw = raw or encoding.write_mode == "raw"
    grey_bits = 0
    if fits and not raw and isinstance(content, bytes):
        return _checked(Encoded(JPG, *fits, _without_tail(content)))
    if isinstance(content, bytes) and (size := _jpeg_size(content)):
        target = target_size(*size, encoding)
        if size == target and not raw:
            _decode_jpeg(content, size, scale=8)  # what libjpeg has to say of its stream
            return _checked(Encoded(JPG, *size, _without_tail(content)))
        pixels = _decode_jpeg(content, size, _scale(size, target))
    else:
        pixels, grey_bits = _load(content, encoding.grey_bits) if isinstance(content, bytes) else (content, 0)
        target = target_size(pixels.shape[1], pixels.shape[0], encoding)
    if target != (pixels.shape[1], pixels.shape[0]):
        pixels = np.asarray(cv2.resize(pixels, target, interpolation=cv2.INTER_AREA), np.uint8)
    if max(target) > MAX_SIDE:
        raise BadImage(f"is {target[0]} x {target[1]} pixels; a side has at most {MAX_SIDE}: use --max-resolution")
    data = pixels.tobytes() if raw else _encode_jpeg(pixels, encoding.jpeg_quality)
    return _checked(Encoded(RAW if raw else JPG, *target, data, grey_bits))


def thumbnail(image: Encoded, side: int) -> Image.Image:
    """A picture of the image whose longer side has ``side`` pixels."""
    factor = side / max(image.width, image.height)
    size = max(1, round(factor * image.width)), max(1, round(factor * image.height))
    scale = _scale((image.width, image.height), size)
    return Image.fromarray(decode(image, scale)).resize(size)


def decode(image: Encoded, scale: int = 1) -> Pixels:
    """The pixels of an encoded image, a JPEG's at 1/``scale``. Threads may call it.

    Raises `BadImage` when they cannot be had or have another size.
    """
    if image.mode == RAW:
        return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
    data = np.frombuffer(image.data, np.uint8)
    try:
        height, width = sides(data, frame_header(data))
    except DamagedImage as error:
        raise BadImage(str(error)) from error
    if (width, height) != (image.width, image.height):
        raise BadImage(f"is {width} x {height} pixels, said to be {image.width} x {image.height}")
    return _decode_jpeg(image.data, (width, height), scale)


def sums(pixels: Pixels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The sum of each channel's values, and of their squares, (3,) each: whole numbers, whose order does not matter.

    From OpenCV's mean and deviation, several times faster than NumPy's sums. Both are exact, for OpenCV adds whole
    numbers too and its roundings after that come to less than a hundredth, of up to `MAX_PIXELS` pixels.
    """
    mean, deviation = (moment.ravel() for moment in cv2.meanStdDev(pixels))
    count = pixels.shape[0] * pixels.shape[1]
    return np.rint(mean * count).astype(np.int64), np.rint((deviation**2 + mean**2) * count).astype(np.int64)


def target_size(width: int, height: int, encoding: Encoding) -> tuple[int, int]:
    """Width and height after writing: never larger than before; fractions of a pixel are cut off, as FFCV does."""
    limit = encoding.max_resolution
    side = max(width, height) if encoding.side == "longest" else min(width, height)
    if limit is None or side <= limit:
        return width, height
    ratio = limit / side
    return max(1, int(ratio * width)), max(1, int(ratio * height))


def opened(content: bytes) -> Image.Image:
    """An image file opened by Pillow, if it is of one of the `FORMATS`; Pillow's UnidentifiedImageError otherwise."""
    return Image.open(io.BytesIO(content), formats=_formats())


@lru_cache
def _formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG that libturbojpeg turns into RGB and that lies upright; None for anything else."""
    if not content.startswith(b"\xff\xd8"):
        return None
    try:
        header = _own.turbo.header(np.frombuffer(content, np.uint8))
    except DamagedImage:
        return None
    if header.colours not in DECODABLE or _is_turned(content):
        return None
    check_area(header.width, header.height)
    return header.width, header.height


def _without_tail(content: bytes) -> bytes:
    """A JPEG without what lies behind its end, where that is more than `MAX_TAIL` bytes."""
    if len(content) <= MAX_TAIL:
        return content
    end = image_end(content)
    return content[:end] if len(content) - end > MAX_TAIL else content


def _may_be_turned(content: bytes) -> bool:
    """As `_is_turned`; what that raises, `encode` will meet again and name as this one file's."""
    try:
        return _is_turned(content)
    except Exception:  # Pillow may raise anything on damaged EXIF data
        return True


def _is_turned(content: bytes) -> bool:
    if b"Exif\0\0" not in content and b"tiff:Orientation" not in content:  # the latter: in XMP
        return False
    with warnings.catch_warnings(action="ignore"), opened(content) as image:
        return image.getexif().get(ORIENTATION, 1) not in (0, 1)


def _decode_jpeg(content: bytes, size: tuple[int, int], scale: int = 1) -> Pixels:
    width, height = size
    pixels = np.empty((-(-height // scale), -(-width // scale), 3), np.uint8)
    try:
        is_silent = _own.turbo.decode(np.frombuffer(content, np.uint8), pixels, EXACT)
    except DamagedImage as error:
        raise BadImage(str(error)) from error
    if not is_silent and not has_end(content):  # of several complaints libjpeg keeps the first, here a harmless one
        raise BadImage("has bytes too many, and ends too early")
    return pixels


def _scale(size: tuple[int, int], target: tuple[int, int]) -> int:
    """The largest reduction of a JPEG that still has every pixel of the target."""
    return next(
        (s for s in JPEG_SCALES if all(-(-full // s) >= small for full, small in zip(size, target, strict=True))), 1
    )


def _load(content: bytes, grey_bits: int) -> tuple[Pixels, int]:
    """Decode any file Pillow knows, upright, on white where it is transparent, its first frame if it has several.

    Returns its `Encoded.grey_bits` too.
    """
    if not content:
        raise BadImage("is empty")
    try:
        with warnings.catch_warnings(action="ignore"), opened(content) as image:
            check_area(*image.size)
            grey = range_of(image, grey_bits)
            image.load()
            used = bits_used(image, grey) if grey else 0
            if grey and used > grey_bits:
                raise BadImage(f"has values over {grey.white:,}, the white of --grey-bits {grey_bits}")
            upright = ImageOps.exif_transpose(_first_frame(image))
            return np.asarray(to_rgb(upright, grey.white) if grey else _to_rgb(upright)), used
    except UnidentifiedImageError as error:
        raise BadImage(f"is no image (it begins with {content[:8]!r})") from error


def _first_frame(image: Image.Image) -> Image.Image:
    """A GIF's first frame may cover a part of the picture only; the rest is transparent then, as browsers show it."""
    box = getattr(image, "dispose_extent", None) if image.format == "GIF" else None
    if not box or box == (0, 0, *image.size):
        return image
    whole, shown = image.convert("RGBA"), Image.new("L", image.size)
    shown.paste(whole.getchannel("A").crop(box), box)
    whole.putalpha(shown)
    return whole


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise BadImage(f"has 32-bit pixels (mode {image.mode}), whose range is not defined; convert it to 8 bits")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), coloured).convert("RGB")
    return image.convert("RGB")


def _encode_jpeg(pixels: Pixels, quality: int) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def check_area(width: int, height: int) -> None:
    """Raises `BadImage` for more than `MAX_PIXELS` pixels."""
    if width * height > MAX_PIXELS:
        raise BadImage(f"has {width} x {height} pixels; at most {MAX_PIXELS:,} are read")


def _checked(image: Encoded) -> Encoded:
    if len(image.data) > PAGE_SIZE:
        raise BadImage(f"takes {len(image.data)} bytes; a page holds {PAGE_SIZE}: use --max-resolution")
    return image
