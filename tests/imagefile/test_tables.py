"""Every table of a file is looked at, and each doubt is one line that names it."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.training.betons import pictures, write_beton
from toolkit.errors import ToolkitError
from toolkit.imagefile.digests import as_recorded, digests_file, write_digests, written
from toolkit.imagefile.format import (
    ALLOCATION,
    HEADER,
    METADATA,
    METADATA_START,
    PAGE_SIZE,
    RAW,
    Encoded,
    content_hash,
    content_of,
    digest,
    next_page,
    without_padding,
)
from toolkit.imagefile.grey import Range, bits_used, range_of, to_rgb
from toolkit.imagefile.reader import Beton
from toolkit.imagefile.writer import BetonWriter, put
from toolkit.study import Manifest, Split


def raw(height: int, width: int, seed: int = 0) -> Encoded:
    data = np.random.default_rng(seed).integers(1, 256, 3 * height * width, dtype=np.uint8).tobytes()
    return Encoded(RAW, width, height, data)


def write(path: Path, images: list[Encoded], capacity: int | None = None) -> np.ndarray:
    with BetonWriter(path, capacity or len(images)) as file:
        positions = file.add(content_of(range(len(images)), images), np.array([len(i.data) for i in images], np.int64))
        put(path, [image.data for image in images], positions.tolist())
        file.finish()
        file.seal()
        write_digests(file)
        return file.content


IMAGES = [raw(2 + i, 5, i) for i in range(4)]
FIRST = PAGE_SIZE
"""Where the data of a small file begin."""
ROW, TABLE = METADATA.itemsize, METADATA_START


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "x.beton"
    write(path, IMAGES)
    return path.read_bytes()


def damaged(sound: bytes, tmp_path: Path, at: int, what: bytes) -> Path:
    path = tmp_path / "x.beton"
    path.write_bytes(sound[:at] + what + sound[at + len(what) :])
    return path


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


ENTRY = 2 * PAGE_SIZE
"""Where the allocation table of a small file begins."""
POINTER = TABLE + ROW + METADATA["image"].fields["data_ptr"][1]
WIDTH = TABLE + ROW + METADATA["image"].fields["width"][1]


@pytest.mark.parametrize(
    ("at", "what", "said"),
    [
        (0, number(0, 2), "its header was never written"),
        (0, number(1, 2), "its format version is 1, not 2"),
        (2, number(3, 2), "its fields are 3, not an image and a label"),
        (8, number(1000, 8), "do not fit each other"),
        (16, number(0, 8), "it has no allocation table"),
        (16, number(METADATA_START - 1, 8), "do not fit each other"),
        (16, number(METADATA_START, 8), "do not fit each other"),
        (HEADER.itemsize, b"\x03", "its fields are image, label, not an image and a label"),
        (TABLE + ROW, b"\x02", "an unknown image mode, first at sample 1"),
        (WIDTH, number(0, 2), "an image without area, first at sample 1"),
        (WIDTH + 2, number(0, 2), "an image without area, first at sample 1"),
        (WIDTH, number(6, 2), "a raw image of the wrong size, first at sample 1"),
        (POINTER, number(FIRST + 1, 8), "an image without data, first at sample 1"),
        (ENTRY + 24 + 16, number(0, 8), "an image without data, first at sample 1"),
        (ENTRY + 24 + 16, number(1 << 62, 8), "image data outside the data pages, first at sample 1"),
    ],
)
def test_a_damaged_table_is_named(sound: bytes, tmp_path: Path, at: int, what: bytes, said: str) -> None:
    with pytest.raises(ToolkitError, match=rf"x\.beton is damaged: .*{said}"):
        Beton.open(damaged(sound, tmp_path, at, what))


@pytest.mark.parametrize(
    ("at", "what", "said"),
    [
        (4, number(PAGE_SIZE // 2, 4), f"not laid out as an image and a label in pages of {PAGE_SIZE} bytes"),
        (HEADER.itemsize + 30, b"\x01", "not laid out as an image and a label"),
        (ENTRY + 24, number(7, 8), "sample ids out of order, first at sample 1"),
        (TABLE + ROW + 15, b"\x01", "its metadata has bytes where none belong"),
        (TABLE + ROW + 15, b"\x00", ""),
    ],
)
def test_what_readers_let_pass_our_layout_does_not(
    sound: bytes, tmp_path: Path, at: int, what: bytes, said: str
) -> None:
    path = damaged(sound, tmp_path, at, what)
    with Beton.open(path) as file:
        assert [file.image(i) for i in range(4)] == IMAGES
    if said:
        with pytest.raises(ToolkitError, match=said):
            Beton.open(path, "layout")
    else:
        Beton.open(path, "layout").check_layout()


def test_a_file_with_bytes_behind_its_tables_is_not_ours(sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.beton"
    path.write_bytes(sound + bytes(ALLOCATION.itemsize))
    with pytest.raises(ToolkitError, match="do not fit each other"):
        Beton.open(path, "layout")
    other = Beton.open(write_beton(tmp_path / "other.beton", *pictures(3, 2)))
    with pytest.raises(ToolkitError, match="not laid out as an image and a label in pages"):
        other.check_layout()


@given(st.integers(0, 1 << 40))
def test_the_next_page_is_the_nearest_boundary(position: int) -> None:
    found = next_page(position)
    assert found % PAGE_SIZE == 0 and 0 <= found - position < PAGE_SIZE


@given(st.lists(st.lists(st.integers(1, PAGE_SIZE), min_size=1, max_size=9), min_size=1, max_size=4))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_images_go_one_after_another_and_none_across_a_page(tmp_path: Path, goes: list[list[int]]) -> None:
    path = tmp_path / "x.beton"
    path.unlink(missing_ok=True)
    end = PAGE_SIZE
    with BetonWriter(path, sum(map(len, goes))) as file:
        for sizes in goes:
            records = np.zeros(len(sizes), content_of([], []).dtype)
            for size, position in zip(sizes, file.add(records, np.array(sizes, np.int64)).tolist(), strict=True):
                expected = end if end % PAGE_SIZE + size <= PAGE_SIZE else next_page(end)
                assert position == expected
                end = position + size
        assert file.samples == sum(map(len, goes)) == len(file.content)
        assert file.header["alloc_table_ptr"][0] == next_page(end)


@given(st.sets(st.integers(0, 39), min_size=1))
@settings(max_examples=30)
def test_samples_are_read_together_as_they_are_alone(many: tuple[Path, list[Encoded]], wanted: set[int]) -> None:
    path, images = many
    numbers = np.array(sorted(wanted))
    with Beton.open(path, "layout") as file:
        room = memoryview(bytearray(sum(len(image.data) for image in images)))
        assert file.gather(numbers, room) == b"".join(images[i].data for i in numbers)
        assert list(file.portion(numbers).images()) == [images[i] for i in numbers]
        assert [bytes(file.encoded(i)) for i in numbers] == [images[i].data for i in numbers]
        assert file.records(numbers)["label"].tolist() == numbers.tolist()
        assert len(file) == file.samples == 40


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Encoded]]:
    images = [raw(1 + i % 7, 3 + i % 5, i) for i in range(40)]
    path = tmp_path_factory.mktemp("many") / "x.beton"
    write(path, images, capacity=50)
    return path, images


def test_what_lies_between_the_parts_is_told(many: tuple[Path, list[Encoded]]) -> None:
    path, images = many
    with Beton.open(path, "layout") as file:
        gaps = list(file.gaps())
        covered = sum(end - start for start, end in gaps)
        tables = METADATA_START + 40 * (METADATA.itemsize + ALLOCATION.itemsize)
        assert covered == file.bytes - tables - sum(len(image.data) for image in images)
        assert all(start < end and not any(file.read(start, end)) for start, end in gaps)
        assert gaps == sorted(gaps)


def test_a_changed_image_is_known_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "train.beton"
    records = write(path, IMAGES)
    assert digests_file(path) == tmp_path / "train.digests"
    assert records["digest"].tobytes() == b"".join(digest(image.data) for image in IMAGES)
    manifest = Manifest(
        name="x", classes=tuple("abcd"), image_size=(5, 5), mean=(0, 0, 0), std=(1, 1, 1),
        splits={"train": Split(file=path.name, bytes=path.stat().st_size, samples=4, class_counts=(1, 1, 1, 1))},
        content_hash=content_hash({"train": records}),
    )  # fmt: skip
    beton = Beton.open(path)
    assert np.array_equal(written({"train": beton}, manifest)["train"], records)
    assert np.array_equal(beton.content(), records)
    with pytest.raises(ToolkitError, match="labels or digests are not those that were written"):
        written({"train": beton}, manifest.model_copy(update={"content_hash": "0" * 64}))
    bare = beton.records(np.arange(4))
    assert not bare["digest"].any()
    found = as_recorded(path, bare)
    assert np.array_equal(found, records) and not bare["digest"].any()
    whole = digests_file(path).read_bytes()
    for content in (whole[:-1], whole + b"x", b""):
        digests_file(path).write_bytes(content)
        with pytest.raises(ToolkitError, match=r"train\.digests is damaged: it (has|cannot)"):
            as_recorded(path, bare)
    digests_file(path).unlink()
    with pytest.raises(ToolkitError, match=r"train\.digests is damaged: it cannot be read \(No such file"):
        as_recorded(path, bare)


def test_padding_is_the_only_thing_that_is_cleaned() -> None:
    dirty = np.frombuffer(np.random.default_rng(0).bytes(3 * METADATA.itemsize), METADATA)
    clean = without_padding(dirty)
    for name in ("mode", "width", "height", "data_ptr"):
        assert np.array_equal(clean["image"][name], dirty["image"][name])
    assert np.array_equal(clean["label"], dirty["label"])
    used = METADATA["image"].itemsize + 8
    assert sum(byte != 0 for byte in clean.tobytes()) <= 3 * used


@given(st.lists(st.integers(0, 65_535), min_size=1, max_size=20), st.integers(1, 65_535))
def test_grey_is_divided_by_its_white_and_rounded(values: list[int], white: int) -> None:
    image = Image.fromarray(np.array([values], np.uint16))
    found = np.asarray(to_rgb(image, white))
    assert found.shape == (1, len(values), 3) and (found[..., 0] == found[..., 2]).all()
    assert found[0, :, 1].tolist() == [min((510 * v + white) // (2 * white), 255) for v in values]
    bits = max(1, max(values).bit_length())
    assert bits_used(image, Range(65_535, False)) == bits and bits_used(image, Range(65_535, True)) == 0


def opened(image: Image.Image, format: str) -> Image.Image:
    file = io.BytesIO()
    image.save(file, format)
    return Image.open(io.BytesIO(file.getvalue()))


def test_only_16_bit_grey_has_a_range() -> None:
    deep = Image.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4))
    flat = Image.fromarray(np.zeros((3, 4), np.uint8))
    for format in ("PNG", "TIFF"):
        assert range_of(opened(deep, format), 12) == Range(4095, False)
        assert range_of(opened(flat, format), 12) is None
    assert range_of(opened(flat.convert("RGB"), "PNG"), 12) is None
    full = Image.open(io.BytesIO(b"P5 2 1 65535\n\0\1\0\2"))
    stated = Image.open(io.BytesIO(b"P5 2 1 1023\n\0\1\0\2"))
    assert range_of(full, 10) == Range(1023, False) and range_of(stated, 12) == Range(65_535, True)
