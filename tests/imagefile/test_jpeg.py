"""`whole` against libjpeg: it may vouch only for what libjpeg decodes without a word."""

import random
import warnings

import numpy as np
import pytest
import turbojpeg
from PIL import Image

from tests.data_prep.menagerie import damaged
from tests.data_prep.pictures import file_bytes, photo
from toolkit.imagefile import images
from toolkit.imagefile.jpeg import whole as jpeg
from toolkit.imagefile.jpeg.whole import Whole
from toolkit.study.dataset import Encoding

KINDS = [
    {"quality": quality, "subsampling": subsampling, **more}
    for quality in (30, 90, 100)
    for subsampling in (0, 1, 2)
    for more in ({}, {"optimize": True}, {"restart_marker_blocks": 3}, {"restart_marker_rows": 1})
]
SIZES = [(64, 48), (1, 1), (17, 33), (100, 7)]


def whole(content):
    return jpeg.whole([content])[0]


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
@pytest.mark.slow
def test_whatever_was_damaged_it_never_vouches_for_what_libjpeg_complains_of(libturbojpeg, count):
    rng = random.Random(count)
    files = [
        file_bytes(photo(i, 48, 40) if i % 3 else photo(i, 48, 40)[..., 0], **kind) for i, kind in enumerate(KINDS)
    ]
    vouched = silent = 0
    for _ in range(count // 50):
        contents = [damaged(rng.choice(files), rng) for _ in range(50)]
        for content, found in zip(contents, jpeg.whole(contents), strict=True):
            assert found == whole(content)
            if found:
                vouched += 1
                assert libjpeg_is_silent(content)
                assert (found.width, found.height) == turbojpeg.TurboJPEG().decode_header(content)[:2]
            silent += bool(content) and libjpeg_is_silent(content)
    assert 0 < vouched <= silent < count
    print(f"{count} damaged JPEGs: {vouched} vouched for, libjpeg silent on {silent}")


def test_files_that_are_looked_at_together_do_not_meddle():
    """Two lanes, two sets of tables: files of many sizes, tables and restart intervals in any order."""
    rng = random.Random(0)
    files = [file_bytes(photo(i, 8 + i, 90 - i), **kind) for i, kind in enumerate(KINDS)]
    assert jpeg.whole([]) == []
    for _ in range(30):
        chosen = [rng.randrange(len(files)) for _ in range(rng.randrange(1, 20))]
        broken = [rng.random() < 0.3 for _ in chosen]
        found = jpeg.whole([files[i][:-3] if cut else files[i] for i, cut in zip(chosen, broken, strict=True)])
        assert found == [None if cut else Whole(8 + i, 90 - i, False) for i, cut in zip(chosen, broken, strict=True)]


def test_segments_without_payload_are_not_read_beyond():
    assert whole(b"\xff\xd8\xff\xc0\0\2\xff\xda\0\2") is None


def test_a_code_of_ones_alone_is_no_code(libturbojpeg):
    """T.81 keeps it free, and libjpeg refuses a table that has it."""
    content = bytearray(file_bytes(photo(0), quality=90))
    table = content.index(b"\xff\xc4") + 5  # the counts of DC 0: 0 1 5 1 1 1 1 1 1 0 ...
    assert tuple(content[table : table + 16]) == (0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)
    content[table + 7 : table + 9] = b"\2\0"  # the last of nine bits becomes a second one of eight: 11111111
    assert not libjpeg_is_silent(bytes(content))
    assert whole(bytes(content)) is None


def test_a_file_whose_exif_data_cannot_be_read_does_not_take_its_neighbours_down(monkeypatch):
    def fail(content):
        raise KeyError("orientation")

    exif = Image.Exif()
    exif[0x0112] = 1
    plain, with_exif = file_bytes(photo(0)), file_bytes(photo(1), exif=exif)
    assert images.fitting([plain, with_exif], Encoding()) == [(64, 48), (64, 48)]
    monkeypatch.setattr(images, "_is_turned", fail)
    assert images.fitting([plain, with_exif], Encoding()) == [(64, 48), None]
