"""The decoder inside a wheel against the system's: same pixels, same verdicts."""

import random

import numpy as np
import pytest
from PIL import Image

from tests.data_prep.menagerie import damaged
from tests.data_prep.pictures import file_bytes, photo
from toolkit.imagefile.jpeg.bundled import Bundled
from toolkit.imagefile.jpeg.headers import DamagedImage
from toolkit.imagefile.jpeg.turbo import EXACT, FAST_DCT, Turbo

pytestmark = pytest.mark.usefixtures("libturbojpeg")

KINDS = [
    {"quality": quality, "subsampling": subsampling, **more}
    for quality in (30, 95)
    for subsampling in (0, 1, 2)
    for more in ({}, {"progressive": True}, {"restart_marker_blocks": 3})
]
SIZES = [(64, 48), (1, 1), (3, 5), (17, 33), (100, 7)]


def verdict(decoder, content, scale=1, transform=EXACT):
    """Header, pixels and silence; None when it is damaged."""
    data = np.frombuffer(content, np.uint8)
    try:
        header = decoder.header(data)
        out = np.zeros((-(-header.height // scale), -(-header.width // scale), 3), np.uint8)
        return header, decoder.decode(data, out, transform), out.tobytes()
    except DamagedImage:
        return None


@pytest.mark.parametrize("size", SIZES)
def test_both_decode_to_the_same_pixels_at_every_scale(size):
    for picture in (photo(1, *size), photo(2, *size)[..., 0]):
        for kind in KINDS:
            content = file_bytes(picture, **kind)
            for scale in (1, 2, 4, 8):
                for transform in (EXACT, FAST_DCT):
                    expected = verdict(Turbo(), content, scale, transform)
                    assert expected and verdict(Bundled(), content, scale, transform) == expected, (kind, scale)


def test_both_judge_damage_alike():
    content = file_bytes(photo(1))
    cmyk = file_bytes(Image.fromarray(photo(1)).convert("CMYK"))
    broken = [damaged(content, random.Random(i)) for i in range(500)]
    files = [*broken, content[:300], b"", b"\xff\xd8", cmyk, content.replace(b"\xff\xda", b"junk\xff\xda")]
    verdicts = [verdict(Turbo(), file) for file in files]
    for file, expected in zip(files, verdicts, strict=True):
        assert verdict(Bundled(), file) == expected, file
    assert None in verdicts and any(found and not found[1] for found in verdicts)
