from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.betons import jpeg, pictures, write_beton
from toolkit.imagefile.crops import CorruptSample, DamagedImage, Decoder, shrinkage
from toolkit.imagefile.reader import Beton


def noise(height, width, seed=0):
    return cv2.resize(np.random.default_rng(seed).integers(0, 256, (9, 11, 3), dtype=np.uint8), (width, height))


def decode(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


@settings(max_examples=30)
@given(st.integers(1, 90), st.integers(1, 90), st.data())
def test_rows_above_the_bottom_are_those_of_a_whole_decode(height, width, data):
    bottom = data.draw(st.integers(1, height))
    stored = np.frombuffer(jpeg(noise(height, width)), np.uint8)
    whole = Decoder().jpeg(stored, height, width)
    part = Decoder().jpeg(stored, height, width, bottom=bottom)
    assert part.shape[0] >= bottom and np.array_equal(part[:bottom], whole[:bottom])
    assert np.abs(whole.astype(int) - decode(stored.tobytes())).max() <= 6


def test_less_is_decoded_than_is_there():
    stored = np.frombuffer(jpeg(noise(320, 320)), np.uint8)
    assert Decoder().jpeg(stored, 320, 320, bottom=30).shape == (32, 320, 3)
    assert Decoder().jpeg(stored, 320, 320, shrink=4).shape == (80, 80, 3)


@pytest.mark.parametrize("raw", [True, False])
def test_a_picture_is_its_crop_resized_and_mirrored(tmp_path, raw):
    image = noise(120, 160)
    beton = Beton.open(write_beton(tmp_path / "a.beton", [image], [0], raw=raw))
    source = image if raw else decode(jpeg(image))
    box, out = (20, 30, 64, 80), np.empty((48, 48, 3), np.uint8)
    expected = cv2.resize(np.ascontiguousarray(source[20:84, 30:110]), (48, 48), interpolation=cv2.INTER_LINEAR)
    Decoder().picture(beton, 0, box, False, out)
    assert np.abs(out.astype(int) - expected).max() <= 6
    mirrored = np.empty_like(out)
    Decoder().picture(beton, 0, box, True, mirrored)
    assert np.array_equal(mirrored, out[:, ::-1])


def test_a_decoder_remembers_nothing(tmp_path):
    images = [noise(40 + 17 * i, 90 - 13 * i, i) for i in range(4)]
    beton = Beton.open(write_beton(tmp_path / "a.beton", images, [0] * 4))
    warm, out, alone = Decoder(), np.empty((32, 32, 3), np.uint8), np.empty((32, 32, 3), np.uint8)
    for sample in (3, 0, 2, 1, 0, 3):
        box = (1, 2, int(beton.heights[sample]) - 3, int(beton.widths[sample]) - 4)
        warm.picture(beton, sample, box, False, out)
        Decoder().picture(beton, sample, box, False, alone)
        assert np.array_equal(out, alone)


def test_shrinkage_never_goes_below_the_size_asked_for():
    assert [shrinkage(crop, 224) for crop in (100, 224, 447, 448, 900, 5000)] == [1, 1, 1, 2, 4, 8]


@pytest.mark.parametrize("damage", ["zeros", "cut", "header", "sides", "noise"])
def test_damage_is_named_by_the_samples_number(tmp_path, damage):
    path = write_beton(tmp_path / "a.beton", *pictures(5, 2))
    before, content = Beton.open(path), bytearray(path.read_bytes())
    start, size = int(before.offsets[3]), int(before.sizes[3])
    rng = np.random.default_rng(0)
    if damage == "zeros":
        content[start : start + size] = bytes(size)
    elif damage == "cut":
        content[start + size // 2 : start + size] = bytes(size - size // 2)
    elif damage == "header":
        content[start : start + 30] = bytes(30)
    elif damage == "sides":
        rows = content.find(b"\xff\xc0", start) + 6
        content[rows] += 8
    else:
        content[start + size // 2 : start + size] = rng.integers(0, 256, size - size // 2, dtype=np.uint8).tobytes()
    path.write_bytes(content)
    beton, out = Beton.open(path), np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(CorruptSample, match=r"sample 3 of .*a\.beton is corrupt"):
        Decoder().picture(beton, 3, (0, 0, 40, 48), False, out)
    Decoder().picture(beton, 2, (0, 0, 40, 48), False, out)
    assert out.any()


def test_no_jpeg_at_all():
    with pytest.raises(DamagedImage, match="no JPEG frame header"):
        Decoder().jpeg(np.zeros(100, np.uint8), 8, 8)


ODD = sorted((Path(__file__).parent / "odd").glob("*.jpg"))


@pytest.mark.parametrize("path", ODD, ids=[path.stem for path in ODD])
@pytest.mark.parametrize("shrink", [1, 2, 4, 8])
def test_a_valid_jpeg_of_a_rarer_kind_is_decoded_down_to_any_row(path, shrink):
    """Restart markers, several scans, comments before the end, fill bytes, stray bytes: all that writers let pass."""
    stored = np.frombuffer(path.read_bytes(), np.uint8)
    height, width = cv2.imdecode(stored, cv2.IMREAD_COLOR).shape[:2]
    whole = Decoder().jpeg(stored, height, width, shrink=shrink)
    for bottom in (1, height // 3, height // 2, height - 1):
        rows = -(-bottom // shrink)
        assert np.array_equal(Decoder().jpeg(stored, height, width, bottom, shrink)[:rows], whole[:rows])
    if shrink == 1:
        assert np.abs(whole.astype(int) - decode(stored.tobytes())).max() <= 6


def test_a_header_without_payload_is_damage():
    for data in (b"\xff\xd8", b"\xff\xd8\xff\xc0\x00\x02\xff\xda\x00\x02", b"\xff\xd8" + b"\xff" * 40):
        with pytest.raises(DamagedImage, match="no JPEG frame header"):
            Decoder().jpeg(np.frombuffer(data, np.uint8), 8, 8)
