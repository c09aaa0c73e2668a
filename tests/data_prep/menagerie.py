"""Files as they lie about on real disks: odd ones, and ones that were damaged."""

import os
import random

import numpy as np
from PIL import Image

from tests.data_prep.pictures import file_bytes, jpeg, photo


def odd_files(folder):
    """Write one file of each kind; returns, by name, the RGB pixels expected (None: it must be left out)."""
    colour = photo(1, 60, 40)
    grey = colour[..., 0]
    image = Image.fromarray(colour)
    palette = image.quantize(16)
    see_through = np.dstack([colour, np.full((40, 60), 255, np.uint8)])
    see_through[:20, :, 3] = 0
    on_white = colour.copy()
    on_white[:20] = 255
    rotated = Image.Exif()
    rotated[0x0112] = 6
    as_rgb = np.dstack([grey] * 3)
    files = {
        "plain.png": (file_bytes(colour, "PNG"), colour),
        "really-a-png.JPEG": (file_bytes(colour, "PNG"), colour),
        "cmyk.jpg": (file_bytes(image.convert("CMYK"), quality=95), colour),
        "grey.jpg": (file_bytes(grey, quality=95), as_rgb),
        "palette.png": (file_bytes(palette, "PNG"), np.asarray(palette.convert("RGB"))),
        "alpha.png": (file_bytes(see_through, "PNG"), on_white),
        "sixteen-bit.png": (file_bytes(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"), as_rgb),
        "turned.jpg": (file_bytes(colour, exif=rotated, quality=95), np.rot90(colour, -1)),
        "bitmap.bmp": (file_bytes(colour, "BMP"), colour),
        "frames.gif": (file_bytes(palette, "GIF"), np.asarray(palette.convert("RGB"))),
        "progressive.jpg": (file_bytes(colour, quality=95, progressive=True), colour),
        "rubbish-before-the-end.jpg": (file_bytes(colour, quality=95)[:-2] + b"rubbish\xff\xd9", colour),
        "ünï 'quoted' \"name\"\n.jpg": (file_bytes(colour, quality=95), colour),
        "floats.tif": (file_bytes(Image.fromarray(grey.astype(np.float32)), "TIFF"), None),
        "postscript.jpg": (file_bytes(image, "EPS"), None),
        "empty.jpg": (b"", None),
        "text.jpg": (b"<html>404 Not Found</html>", None),
        "truncated.jpg": (jpeg(3)[:-300], None),
        "truncated.png": (file_bytes(colour, "PNG")[:-900], None),
        "huge.png": (_claimed_size(file_bytes(colour, "PNG"), 60_000, 60_000), None),
    }
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    (folder / os.fsdecode(b"latin-\xe9.jpg")).write_bytes(file_bytes(colour, quality=95))
    (folder / "directory.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "nowhere.jpg").symlink_to("gone")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    expected = {name: pixels for name, (_, pixels) in files.items()} | {"latin-\\xe9.jpg": colour}
    return expected | dict.fromkeys(("directory.jpg", "pipe.jpg", "nowhere.jpg", "loop.jpg"))


def damaged_files(count, seed=0):
    """Image files of four formats with bytes flipped, cut out, doubled or cut off: their bytes, one after another."""
    rng = random.Random(seed)
    whole = [file_bytes(photo(i, 64, 48), format) for i in range(4) for format in ("JPEG", "PNG", "WEBP", "GIF")]
    for _ in range(count):
        yield damaged(rng.choice(whole), rng)


def damaged(content, rng):
    """The bytes, some of them flipped, cut out, doubled or cut off."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(content))
        match rng.randrange(4):
            case 0:
                content[start] ^= 1 << rng.randrange(8)
            case 1:
                del content[start : start + rng.randint(1, 50)]
            case 2:
                content[start:start] = content[start : start + rng.randint(1, 50)]
            case 3 if rng.random() < 0.3:
                del content[start:]
        if not content:
            break
    return bytes(content)


def _claimed_size(png, width, height):
    return png[:16] + width.to_bytes(4, "big") + height.to_bytes(4, "big") + png[24:]
