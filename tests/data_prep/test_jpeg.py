"""`whole` against libjpeg: it may vouch only for what libjpeg decodes without a word."""

import random
import warnings

import numpy as np
import pytest
import turbojpeg
from PIL import Image

from data_prep.jpeg import Whole, whole
from tests.data_prep.menagerie import damaged
from tests.data_prep.pictures import file_bytes, photo

KINDS = [
    {"quality": quality, "subsampling": subsampling, **more}
    for quality in (30, 90, 100)
    for subsampling in (0, 1, 2)
    for more in ({}, {"optimize": True}, {"restart_marker_blocks": 3}, {"restart_marker_rows": 1})
]
SIZES = [(64, 48), (1, 1), (17, 33), (100, 7)]


def libjpeg_is_silent(content):
    with warnings.catch_warnings(action="error"):
        try:
            return turbojpeg.TurboJPEG().decode(content, turbojpeg.TJPF_RGB) is not None
        except (OSError, UserWarning, ValueError):
            return False


@pytest.mark.parametrize("size", SIZES)
def test_what_is_whole_is_vouched_for_with_its_size(size):
    pictures = [photo(1, *size), np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)]
    for picture in [*pictures, pictures[1][..., 0]]:
        for kind in KINDS:
            content = file_bytes(picture, **kind)
            assert whole(content) == Whole(*size, False)
            assert whole(content + b"anything") == Whole(*size, False)


def test_what_it_does_not_know_is_left_to_libjpeg():
    picture = photo(1)
    assert whole(file_bytes(picture, progressive=True)) is None
    assert whole(file_bytes(Image.fromarray(picture).convert("CMYK"))) is None
    assert whole(file_bytes(picture, "PNG")) is whole(b"") is whole(b"\xff\xd8") is None
    exif = Image.Exif()
    exif[0x0112] = 6
    assert whole(file_bytes(picture, exif=exif)) == Whole(64, 48, True)
    icc = file_bytes(picture, icc_profile=bytes(70_000), comment=b"\xff\xd9")
    assert whole(icc) == Whole(64, 48, False)


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_stream_that_ends_early_or_late_is_not_vouched_for(cut):
    content = file_bytes(photo(2), quality=90)
    assert whole(content[:-cut]) is None
    assert whole(content[: -cut - 2] + b"\xff\xd9") is None
    assert whole(content[:-2] + bytes(cut) + b"\xff\xd9") is None


@pytest.mark.parametrize("count", [3_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_whatever_was_damaged_it_never_vouches_for_what_libjpeg_complains_of(count):
    rng = random.Random(count)
    files = [
        file_bytes(photo(i, 48, 40) if i % 3 else photo(i, 48, 40)[..., 0], **kind) for i, kind in enumerate(KINDS)
    ]
    vouched = silent = 0
    for _ in range(count):
        content = damaged(rng.choice(files), rng)
        if found := whole(content):
            vouched += 1
            assert libjpeg_is_silent(content)
            assert (found.width, found.height) == turbojpeg.TurboJPEG().decode_header(content)[:2]
        silent += bool(content) and libjpeg_is_silent(content)
    assert 0 < vouched <= silent < count
    print(f"{count} damaged JPEGs: {vouched} vouched for, libjpeg silent on {silent}")
