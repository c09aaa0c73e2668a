"""The test images of public decoders, and JPEGs of many kinds by four real encoders.

The first come with Debian packages (tests/apt-packages.txt); many of them are damaged on purpose. The encoders' are all
of one size that no coding unit divides, and all valid.
"""

import io
import itertools
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import turbojpeg
from PIL import Image
from torchvision.io import encode_jpeg

HEIGHT, WIDTH = 83, 61
ENCODERS = ("opencv", "pillow", "torchvision", "turbojpeg")
DECODERS = {
    "gdk-pixbuf": "usr/libexec/installed-tests/gdk-pixbuf/test-images",
    "go": "usr/share/go-*/src/image",
    "go-x-image": "usr/share/gocode/src/golang.org/x/image",
    "image-rs": "usr/share/cargo/registry/*",
    "sdl-image": "usr/libexec/installed-tests/SDL2_image",
    "odd": str(Path(__file__).relative_to("/").parent / "odd"),
}
"""Where the packages put their images; last, those that lie here, three of them from Pillow's tests."""
UNREAD = {".qoi", ".tga", ".xpm"}
"""Endings of formats that `toolkit.imagefile.images.FORMATS` leaves out."""
ENDINGS = UNREAD | {
    ".avif", ".bmp", ".gif", ".ico", ".jpeg", ".jpg", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"
}  # fmt: skip


class File(NamedTuple):
    suite: str
    name: str
    content: bytes

    @property
    def base(self) -> str:
        return Path(self.name).name

    @property
    def ending(self) -> str:
        return Path(self.name).suffix.lower()


def pictures(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (count, 12, 9, 3), dtype=np.uint8)
    return [cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for image in coarse]


def by_pillow(image: np.ndarray, i: int) -> bytes:
    out = io.BytesIO()
    mode = ("RGB", "RGB", "L", "CMYK")[i // 12 % 4]
    options = {"progressive": i % 2 == 1, "optimize": i % 3 == 0, "subsampling": i % 3}
    restart = {"restart_marker_rows": 1} if i % 4 < 2 else {}
    Image.fromarray(image).convert(mode).save(out, "JPEG", quality=60 + i % 40, **options, **restart)
    return out.getvalue()


def by_opencv(image: np.ndarray, i: int) -> bytes:
    factors = (0x111111, 0x211111, 0x221111, 0x121111, 0x411111)
    flags = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factors[i % 5], cv2.IMWRITE_JPEG_RST_INTERVAL, (0, 1, 3)[i % 3]]
    flags += [cv2.IMWRITE_JPEG_PROGRESSIVE, i % 2, cv2.IMWRITE_JPEG_QUALITY, 60 + i % 40]
    return cv2.imencode(".jpg", image, flags)[1].tobytes()


def by_torchvision(image: np.ndarray, i: int) -> bytes:
    return encode_jpeg(torch.from_numpy(image).permute(2, 0, 1).contiguous(), 40 + i % 60).numpy().tobytes()


def by_turbojpeg(image: np.ndarray, i: int) -> bytes:
    return turbojpeg.TurboJPEG().encode(image, quality=60 + i % 40, jpeg_subsample=i % 6)


def with_oddities(data: bytes, i: int) -> bytes:
    """A comment at the beginning, a comment before the end, fill bytes before a marker, or nothing of these."""
    comment = b"\xff\xfe\x00\x07hello"
    kinds = (data, data[:2] + comment + data[2:], data[:-2] + comment + data[-2:], data[:2] + b"\xff\xff" + data[2:])
    return kinds[i // 6 % 4]


def by_encoders(of_each: int) -> list[File]:
    encoders = zip(ENCODERS, (by_opencv, by_pillow, by_torchvision, by_turbojpeg), strict=True)
    return [
        File(suite, f"{i:03}.jpg", with_oddities(encode(image, i), i))
        for (suite, encode), (i, image) in itertools.product(encoders, enumerate(pictures(of_each)))
    ]


def of_decoders() -> list[File]:
    """Those of the packages that are installed."""
    return [
        File(suite, str(path.relative_to(folder)), path.read_bytes())
        for suite, pattern in DECODERS.items()
        for folder in sorted(Path("/").glob(pattern))
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in ENDINGS and path.is_file()
    ]
