"""Our files against FFCV, which stays the judge of its format."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from blake3 import blake3

from data_prep.writing.dataset import DatasetInfo, write_dataset
from tests.data_prep.pictures import photo, samples
from toolkit.errors import ToolkitError
from toolkit.imagefile import format as beton
from toolkit.imagefile.format import JPG, RAW, Encoded, content_hash, content_of
from toolkit.imagefile.images import decode, encode
from toolkit.imagefile.reader import Beton
from toolkit.imagefile.writer import BetonWriter, put
from toolkit.study.dataset import Encoding


def write(path, images, labels, capacity=None):
    with BetonWriter(path, capacity or len(images)) as file:
        add(file, images, labels)
        file.finish()
        file.seal()
        return file.content


def add(file, images, labels):
    """In two goes, so that a page is continued."""
    half = len(images) // 2
    for images_of, labels_of in ((images[:half], labels[:half]), (images[half:], labels[half:])):
        sizes = np.array([len(image.data) for image in images_of], np.int64)
        positions = file.add(content_of(labels_of, images_of), sizes)
        put(file.path, [image.data for image in images_of], positions.tolist())


def raw(seed, width, height):
    return Encoded(RAW, width, height, photo(seed, width, height).tobytes())


def test_the_tables_are_laid_out_as_ffcvs(ffcv):
    from ffcv import types

    assert types.HeaderType == beton.HEADER
    assert types.FieldDescType == beton.FIELD
    assert beton.ALLOCATION == types.ALLOC_TABLE_TYPE
    theirs = types.get_metadata_type([ffcv.fields.RGBImageField(), ffcv.fields.IntField()])
    assert beton.METADATA.itemsize == theirs.itemsize
    assert [beton.METADATA.fields[n][1] for n in beton.METADATA.names] == [theirs.fields[n][1] for n in theirs.names]
    assert theirs["f0"] == beton.IMAGE
    assert [types.TYPE_ID_HANDLER[number].__name__ for _, number in beton.FIELDS] == ["RGBImageField", "IntField"]


@pytest.mark.parametrize(
    "encoding", [Encoding(), Encoding(write_mode="raw"), Encoding(max_resolution=40, jpeg_quality=75)]
)
def test_every_sample_equals_the_one_ffcvs_writer_writes(ffcv, tmp_path, encoding):
    pictures = [photo(i, 50 + i, 90 - i) for i in range(40)] + [photo(i, 1000, 1000) for i in range(5)]
    theirs = tmp_path / "theirs.beton"
    fields = {
        "image": ffcv.fields.RGBImageField(
            write_mode=encoding.write_mode, max_resolution=encoding.max_resolution, jpeg_quality=encoding.jpeg_quality
        ),
        "label": ffcv.fields.IntField(),
    }
    dataset = [(picture, i * 7) for i, picture in enumerate(pictures)]
    ffcv.DatasetWriter(str(theirs), fields, num_workers=1).from_indexed_dataset(dataset)
    ours = tmp_path / "ours.beton"
    write(ours, [encode(picture, encoding) for picture in pictures], [label for _, label in dataset])
    with Beton.open(ours, "layout") as a, Beton.open(theirs, "layout") as b:
        assert np.array_equal(a.content(), b.content())
        assert np.array_equal(a.metadata, b.metadata)
    assert ours.read_bytes() == theirs.read_bytes()


def test_ffcvs_loader_reads_every_pixel_and_label(ffcv, tmp_path):
    from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder
    from ffcv.loader import Loader, OrderOption

    given = samples(20)
    write_dataset(tmp_path / "set", {"train": given, "val": given[:4]}, DatasetInfo("abc"), workers=2)
    path = tmp_path / "set" / "train.beton"
    pipelines = {"image": [SimpleRGBImageDecoder()], "label": [IntDecoder()]}
    for os_cache in (True, False):
        loader = Loader(
            str(path), 7, 1, os_cache, OrderOption.SEQUENTIAL, pipelines=pipelines, drop_last=False, recompile=False
        )
        batches = [(np.array(images), np.array(labels)) for images, labels in loader]
        images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
        assert labels.ravel().tolist() == [sample.label for sample in given]
        expected = np.stack([decode(Encoded(JPG, 64, 48, sample.content)) for sample in given])
        # FFCV asks for the fast inverse transform, which is off by a few grey levels
        assert np.abs(images.astype(int) - expected).max() <= 6


def test_images_that_fill_pages_and_a_file_with_room_left(tmp_path):
    images = [raw(i, 1200, 1200) for i in range(5)]
    records = write(tmp_path / "x.beton", images, range(5), capacity=9)
    with Beton.open(tmp_path / "x.beton", "layout") as file:
        assert file.samples == 5
        assert [file.image(i) for i in range(5)] == images
        assert np.array_equal(file.content(threads=2), records)
        assert all(not any(file.read(start, end)) for start, end in file.gaps())


def test_an_unfinished_file_opens_nowhere(ffcv, tmp_path):
    path = tmp_path / "x.beton"
    with BetonWriter(path, 3) as file:
        add(file, [raw(i, 20, 20) for i in range(3)], range(3))
        file.finish()
    with pytest.raises(ToolkitError, match=r"never written|truncated"):
        Beton.open(path, "layout")
    with pytest.raises((AssertionError, ValueError, IndexError)):
        ffcv.reader.Reader(str(path))


def test_images_that_do_not_read_back_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "pread", lambda descriptor, size, position: bytes(size))
    with BetonWriter(tmp_path / "x.beton", 1) as file, pytest.raises(ToolkitError, match="does not read back"):
        add(file, [raw(1, 20, 20)], [0])


def test_images_that_lie_together_are_written_from_several_threads(tmp_path):
    images = [raw(i, 20, 1 + i) for i in range(40)]
    sizes = np.array([len(image.data) for image in images])
    with BetonWriter(tmp_path / "x.beton", len(images)) as file:
        positions = file.add(content_of(range(40), images), sizes)

        def put(first):
            together = bytearray(b"".join(image.data for image in images[first : first + 5]))
            file.put(memoryview(together), int(positions[first]), memoryview(bytearray(len(together) + 9)))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, range(0, 40, 5)))
        file.finish()
        file.seal()
    with Beton.open(tmp_path / "x.beton", "layout") as file:
        assert [file.image(i) for i in range(40)] == images
        room = memoryview(bytearray(100_000))
        numbers = np.array([0, 1, 2, 7, 30, 31, 39])
        assert file.gather(numbers, room) == b"".join(images[i].data for i in numbers)


@pytest.mark.parametrize("read", [lambda room: 0, lambda room: len(room[0])])
def test_images_that_lie_together_and_do_not_read_back_are_an_error(tmp_path, monkeypatch, read):
    monkeypatch.setattr(os, "preadv", lambda descriptor, room, position: read(room))
    with BetonWriter(tmp_path / "x.beton", 1) as file:
        (position,) = file.add(content_of([0], [raw(1, 20, 20)]), np.array([1200]))
        with pytest.raises(ToolkitError, match="does not read back"):
            file.put(memoryview(bytearray(raw(1, 20, 20).data)), int(position), memoryview(bytearray(1200)))


def test_the_content_hash_is_what_its_docstring_says(tmp_path):
    images = [raw(1, 3, 2), raw(2, 4, 1)]
    records = write(tmp_path / "x.beton", images, [5, -1])
    expected = blake3(b"train 2\n")
    for image, label in zip(images, (5, -1), strict=True):
        expected.update(label.to_bytes(8, "little", signed=True) + bytes([RAW]))
        expected.update(image.width.to_bytes(2, "little") + image.height.to_bytes(2, "little"))
        expected.update(blake3(image.data).digest())
    assert content_hash({"train": records}) == expected.hexdigest()
    assert content_hash({"train": records, "val": records}) == content_hash({"val": records, "train": records})
