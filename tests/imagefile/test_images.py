"""Conversions of rarer images, each with the pixels that its format's definition says."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data_prep.pictures import file_bytes, jpeg, photo
from toolkit.imagefile.format import RAW, BadImage
from toolkit.imagefile.images import MAX_TAIL, decode, encode, fitting
from toolkit.imagefile.jpeg.headers import image_end
from toolkit.study.dataset import Encoding

ODD = Path(__file__).parent / "odd"
AS_IT_IS = Encoding()
XMP = (
    b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF><rdf:Description "
    b'tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


def segment(marker, content):
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def after_soi(content, *segments):
    return content[:2] + b"".join(segments) + content[2:]


def stored(content):
    """What the writer makes of a file, with what it knows beforehand."""
    return encode(content, AS_IT_IS, fits=fitting([content], AS_IT_IS)[0])


def pixels(content):
    image = encode(content, AS_IT_IS, raw=True)
    assert image.mode == RAW
    return decode(image)


def test_the_transparent_colour_of_an_rgb_png_is_white():
    content = (ODD / "rgb_trns.png").read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        clear = image.info["transparency"]
        plain = np.asarray(image.convert("RGB"))
    is_clear = (plain == clear).all(-1)
    found = pixels(content)
    assert is_clear.any() and (found[is_clear] == 255).all() and (found[~is_clear] == plain[~is_clear]).all()


def test_what_the_first_frame_of_a_gif_leaves_bare_is_white():
    content = file_bytes(Image.fromarray(np.full((4, 4), 3, np.uint8)), "GIF")
    larger = content[:6] + bytes([6, 0, 5, 0]) + content[10:]  # the size of the whole picture
    expected = np.full((5, 6, 3), 255)
    expected[:4, :4] = 3
    assert (pixels(larger) == expected).all() and (pixels(content) == 3).all()


def test_a_16_bit_pgm_is_what_the_16_bit_png_is():
    content = (ODD / "16_bit_binary.pgm").read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        values = np.asarray(image)
    assert (pixels(content) == pixels(file_bytes(values.astype(np.uint16), "PNG"))).all()


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_divided_by_257_and_rounded(format):
    values = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    assert (pixels(file_bytes(values, format))[..., 1] == np.rint(values / 257)).all()


def test_a_tiff_of_12_bits_is_brightest_at_4095():
    """Pillow writes none: one row whose samples are packed, the most significant bit first, as the format says."""
    tags = [(256, 4), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 6)]
    data = bytes.fromhex("000fff800400") + b"\0\0"
    fields = b"".join(tag.to_bytes(2, "little") + b"\3\0\1\0\0\0" + value.to_bytes(4, "little") for tag, value in tags)
    content = b"II*\0\x10\0\0\0" + data + len(tags).to_bytes(2, "little") + fields + b"\0\0\0\0"
    assert pixels(content)[0, :, 0].tolist() == [0, 255, 128, 64]


def grey(content, bits=16):
    image = encode(content, Encoding(grey_bits=bits), raw=True)
    return decode(image)[0, :, 0].tolist(), image.grey_bits


def test_12_bits_in_16_are_brightest_at_4095_where_that_is_asked_for():
    values = np.array([[0, 64, 2047, 4095]], np.uint16)
    content = file_bytes(values, "PNG")
    assert grey(content) == ([0, 0, 8, 16], 12)
    assert grey(content, bits=12) == ([0, 4, 127, 255], 12)
    assert grey(b"P5 4 1 65535\n" + values.byteswap().tobytes(), bits=12) == ([0, 4, 127, 255], 12)
    with pytest.raises(BadImage, match=r"values over 1,023, the white of --grey-bits 10"):
        grey(content, bits=10)


def test_a_range_that_a_pgm_states_is_the_range():
    values = np.array([[0, 64, 2047, 4095]], np.uint16)
    assert grey(b"P5 4 1 4095\n" + values.byteswap().tobytes(), bits=10) == ([0, 4, 127, 255], 0)


def test_transparent_16_bit_grey_is_white():
    values = np.arange(0, 60_000, 1000, dtype=np.uint16).reshape(6, 10)
    found = pixels(file_bytes(Image.fromarray(values), "PNG", transparency=7000))
    assert (found[0, 7] == 255).all() and (found[0, 6] == round(6000 / 257)).all()


def turned(content):
    return np.rot90(decode(encode(content, AS_IT_IS, raw=True)), -1)


def test_an_orientation_in_xmp_is_followed():
    plain = jpeg(1)
    found = pixels(after_soi(plain, segment(0xE1, XMP)))
    assert found.shape == (64, 48, 3) and (found == turned(plain)).all()
    assert stored(after_soi(plain, segment(0xE1, XMP))).width == 48


def test_an_orientation_is_found_behind_a_large_profile():
    plain, exif = jpeg(1), Image.Exif()
    exif[0x0112] = 6
    late = after_soi(plain, *[segment(0xE2, bytes(60_000))] * 4, segment(0xE1, exif.tobytes()))
    assert stored(late).width == 48 and (pixels(late) == turned(plain)).all()


def test_megabytes_behind_the_end_are_not_stored():
    thumbnail = segment(0xE1, b"Exif\0\0" + jpeg(2, 16, 16))
    for plain in (jpeg(1), after_soi(jpeg(1), thumbnail), file_bytes(photo(1), progressive=True)):
        for tail in (bytes(3 << 20), plain + bytes(MAX_TAIL + 1), b"\xff\xd9" * (1 << 20)):
            assert stored(plain + tail).data == plain
        assert stored(plain + b"short").data == plain + b"short"


def test_a_jpeg_that_is_cut_off_behind_bytes_too_many_is_damaged():
    """Of several complaints libjpeg keeps the first, which is a harmless one here."""
    content = (ODD / "extra_before_rst.jpg").read_bytes()
    assert stored(content).data == content
    for cut in (2, 300, 5000):
        with pytest.raises(BadImage, match="bytes too many, and ends too early"):
            stored(content[:-cut])


def test_the_end_of_every_jpeg_is_its_last_byte():
    for path in ODD.glob("*.jpg"):
        content = path.read_bytes()
        assert image_end(content + b"more") == len(content), path.name


def test_a_damaged_file_leaves_nothing_behind_for_the_next_one():
    """libjpeg stops in the middle of a header that it refuses; the handle must not go on from there."""
    rng, good = np.random.default_rng(0), jpeg(1)
    pixels, refused = decode(encode(good, AS_IT_IS)), 0
    for _ in range(300):
        damaged = bytearray(good)
        for _ in range(2):
            damaged[rng.integers(2, 400)] = rng.integers(256)
        try:
            encode(bytes(damaged), AS_IT_IS)
        except Exception:  # Pillow may raise anything
            refused += 1
        assert np.array_equal(decode(encode(good, AS_IT_IS)), pixels)
    assert refused > 30
