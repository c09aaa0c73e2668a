"""The writer: same bytes whatever the workers, nothing half-done, and an end to every run."""

import os
import signal
import threading
from collections import Counter
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from data_prep.storage.samples import Sample
from data_prep.writing.contact_sheet import contact_sheet
from data_prep.writing.dataset import ChannelStats, DatasetInfo, write_dataset
from data_prep.writing.options import announce
from data_prep.writing.staging import new_folder
from tests.data_prep.pictures import file_bytes, jpeg, photo, samples
from toolkit.errors import ToolkitError, UsageError
from toolkit.imagefile.images import decode, sums
from toolkit.imagefile.reader import Beton
from toolkit.study.dataset import Encoding, Manifest, find_dataset


class Deadly(NamedTuple):
    """A sample that takes its worker down, as a crashing decoder or the kernel's memory killer would."""

    def read(self):
        os.kill(os.getpid(), signal.SIGKILL)


def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path):
    given = [*samples(100), Sample("bad", 0, b"nothing"), *samples(60, first=200)]
    encoding = Encoding(write_mode="proportion", raw_proportion=0.3, max_resolution=50)
    manifests = [
        write_dataset(
            tmp_path / f"{n}", {"train": given, "val": given[:50]}, DatasetInfo("abc"), encoding, workers=n, max_bad=1
        )
        for n in (1, 2, 5)
    ]
    assert len({m.content_hash for m in manifests}) == 1
    assert len({(tmp_path / f"{n}" / "train.beton").read_bytes() for n in (1, 2, 5)}) == 1
    assert manifests[0].mean == manifests[1].mean and manifests[0].std == manifests[2].std


def test_grey_that_uses_few_of_its_16_bits_is_wondered_about_once(tmp_path, capsys):
    bright, dark = (np.full((4, 4), value, np.uint16) for value in (60_000, 3_000))
    given = [Sample(str(i), 0, file_bytes(dark if i else bright, "PNG")) for i in range(9)]
    write_dataset(tmp_path / "a", {"train": given, "val": given[:3]}, DatasetInfo("a"), workers=1)
    said = "note: 10 of 12 images of 16-bit grey have no value over 4,095 and become 16 levels of grey"
    assert capsys.readouterr().err.count(said) == 1
    few = Encoding(grey_bits=12)
    write_dataset(tmp_path / "b", {"train": given[1:], "val": given[1:]}, DatasetInfo("a"), few, workers=1)
    assert "note" not in capsys.readouterr().err
    assert find_dataset("b", tmp_path).manifest.encoding.grey_bits == 12


def test_the_manifest_says_what_is_in_the_folder(odd_path):
    pictures = [photo(i, 30 + i, 60) for i in range(20)]
    given = [Sample(str(i), i % 2, picture) for i, picture in enumerate(pictures)]
    about = DatasetInfo(["n01", "n02"], ["cat", "dog"], title="Pets", source="nowhere", metric="top5")
    write_dataset(odd_path / "set", {"train": given, "val": given[:3]}, about, Encoding(write_mode="raw"), workers=2)
    path, manifest = find_dataset("set", odd_path)
    files = ["contact-sheet.png", "dataset.json", "train.beton", "train.digests", "val.beton", "val.digests"]
    assert sorted(p.name for p in path.iterdir()) == files
    assert (manifest.classes, manifest.class_names, manifest.metric) == (("n01", "n02"), ("cat", "dog"), "top5")
    assert manifest.splits["val"].class_counts == (2, 1)
    assert manifest.image_size == (60, 49)
    assert manifest.max_bad == manifest.losable("train") == 1  # one in 20
    pixels = np.concatenate([picture.reshape(-1, 3) for picture in pictures]) / 255
    assert manifest.mean == pytest.approx(pixels.mean(0), abs=1e-5)
    assert manifest.std == pytest.approx(pixels.std(0), abs=1e-5)
    assert manifest.mean_over == 20
    with Beton.open(path / "train.beton", "layout") as beton:
        assert all(np.array_equal(decode(beton.image(i)), pictures[i]) for i in range(20))


def test_a_bad_image_is_left_out_and_listed_up_to_the_limit(tmp_path):
    given = [*samples(5), Sample("caf\udce9/broken.jpg", 1, jpeg(1)[:900]), *samples(5)]
    manifest = write_dataset(
        tmp_path / "a", {"train": given, "val": samples(3)}, DatasetInfo("abc"), workers=1, max_bad=1
    )
    assert manifest.splits["train"].samples == 10
    assert [(bad.source, "Premature end" in bad.reason) for bad in manifest.skipped] == [("caf\\xe9/broken.jpg", True)]
    assert Manifest.read(tmp_path / "a" / "dataset.json") == manifest
    with pytest.raises(ToolkitError, match=r"1 bad images, at most 0 .*broken.jpg: Premature"):
        write_dataset(tmp_path / "b", {"train": given, "val": samples(3)}, DatasetInfo("abc"), workers=1)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_all_bad_images_are_listed_and_a_small_set_may_have_a_few(tmp_path, capsys):
    bad = [Sample(f"bad{i}.jpg", 0, b"nothing") for i in range(3)]
    given = [bad[0], *samples(40), *bad[1:]]
    with pytest.raises(ToolkitError, match=r"4 bad images, at most 2 may be left out .*the first is bad0.jpg"):
        write_dataset(tmp_path / "a", {"train": given, "val": [*samples(3), bad[2]]}, DatasetInfo("abc"), workers=2)
    listed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bad: ")]
    assert [line.split(":")[1].strip() for line in listed] == ["bad0.jpg", "bad1.jpg", "bad2.jpg", "bad2.jpg"]
    manifest = write_dataset(tmp_path / "b", {"train": given[:-1], "val": samples(3)}, DatasetInfo("abc"), workers=2)
    assert len(manifest.skipped) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_hopeless_folder_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.writing.dataset.ENOUGH", 5)
    given = [Sample(f"{i}.jpg", 0, b"nothing") for i in range(500)]
    with pytest.raises(ToolkitError, match=r"gave up there"):
        write_dataset(tmp_path / "a", {"train": given, "val": samples(3)}, DatasetInfo("abc"), workers=1)


def test_a_worker_that_dies_ends_the_run_with_a_word(tmp_path):
    given = [*samples(100), Sample("killer.jpg", 0, Deadly()), *samples(100)]
    with pytest.raises(ToolkitError, match="worker process died"):
        write_dataset(tmp_path / "set", {"train": given, "val": samples(3)}, DatasetInfo("abc"), workers=2)
    assert not any(tmp_path.iterdir())


def test_threads_of_the_calling_process_do_not_hang_its_workers(tmp_path):
    cv2.setNumThreads(4)
    cv2.resize(photo(0, 2000, 2000), (900, 900), interpolation=cv2.INTER_AREA)
    given = [Sample(str(i), 0, photo(i, 400, 300)) for i in range(8)]
    write_dataset(
        tmp_path / "set", {"train": given, "val": given}, DatasetInfo("a"), Encoding(max_resolution=200), workers=2
    )


def test_nothing_is_overwritten_unasked(tmp_path):
    splits = {"train": samples(6), "val": samples(3)}
    first = write_dataset(tmp_path / "set", splits, DatasetInfo("abc"), workers=1)
    with pytest.raises(UsageError, match="there already; give --overwrite"):
        write_dataset(tmp_path / "set", splits, DatasetInfo("abc"), workers=1)
    splits["train"] = samples(9)
    with pytest.raises(UsageError, match="val of set has no images"):
        write_dataset(tmp_path / "set", splits | {"val": []}, DatasetInfo("abc"), overwrite=True)
    assert Manifest.read(tmp_path / "set" / "dataset.json") == first
    write_dataset(tmp_path / "set", splits, DatasetInfo("abc"), workers=1, overwrite=True)
    assert Manifest.read(tmp_path / "set" / "dataset.json").splits["train"].samples == 9
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_splits_without_one_usable_image_and_unwritable_places(tmp_path):
    bad = [Sample("x", 0, b"")]
    with pytest.raises(ToolkitError, match="none of the 1 images of split val can be used"):
        write_dataset(tmp_path / "set", {"train": samples(3), "val": bad}, DatasetInfo("abc"), workers=1, max_bad=5)
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolkitError, match="cannot be written"):
        write_dataset(
            tmp_path / "file" / "set", {"train": samples(3), "val": samples(3)}, DatasetInfo("abc"), workers=1
        )


def test_no_file_opens_before_everything_else_is_written(tmp_path, monkeypatch):
    looked_at = []

    def look(beton, manifest):
        for path in tmp_path.glob(".tmp-*/*.beton"):
            with pytest.raises(ToolkitError, match="never written"):
                Beton.open(path, "layout")
            looked_at.append(path.name)
        return contact_sheet(beton, manifest)

    monkeypatch.setattr("data_prep.writing.dataset.contact_sheet", look)
    write_dataset(tmp_path / "set", {"train": samples(6), "val": samples(3)}, DatasetInfo("abc"), workers=1)
    assert sorted(looked_at) == ["train.beton", "val.beton"]
    assert Beton.open(tmp_path / "set" / "train.beton", "layout").samples == 6


@pytest.mark.parametrize("mode", ["jpg", "raw"])
def test_the_contact_sheet_shows_each_class_beside_its_name(tmp_path, mode):
    shades = ((250, 10, 10), (10, 250, 10), (10, 10, 250))
    given = [Sample(str(i), i % 3, np.full((300, 400, 3), shades[i % 3], np.uint8)) for i in range(12)]
    write_dataset(
        tmp_path / "set", {"train": given, "val": given[:3]}, DatasetInfo("abc"), Encoding(write_mode=mode), workers=1
    )
    sheet = np.asarray(Image.open(tmp_path / "set" / "contact-sheet.png"))
    for row, shade in enumerate(shades):
        for column in range(4):
            tile = sheet[4 + 100 * row :, 200 + 100 * column :][:72, :96]
            assert np.abs(tile.astype(int) - shade).max() < 12
    assert (sheet[4:76, 600:] == 255).all()


def test_a_contact_sheet_says_which_classes_it_shows(tmp_path, capsys):
    for count, said in ((25, ""), (26, " (25 of 26 classes, evenly spread)")):
        given = [Sample(str(i), i, photo(0)) for i in range(count)]
        about = DatasetInfo([str(i) for i in range(count)])
        manifest = write_dataset(tmp_path / str(count), {"train": given, "val": given}, about, workers=1)
        announce({tmp_path / str(count): manifest}, as_json=False)
        assert capsys.readouterr().out.endswith(f"contact-sheet.png{said}\n")
        sheet = np.asarray(Image.open(tmp_path / str(count) / "contact-sheet.png"))
        assert (sheet[2504:] < 255).any() == bool(said)


@pytest.mark.slow
def test_what_is_overwritten_is_there_at_every_moment(tmp_path):
    """Between two renames a reader would find nothing, and a kill would leave nothing."""
    path, looks, is_over = tmp_path / "a\nset", Counter(), threading.Event()

    def write(text):
        with new_folder(path, overwrite=True) as folder:
            (folder / "file").write_text(text)

    def watch():
        while not is_over.is_set():
            looks[path.exists()] += 1

    write("first")
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for i in range(1000):
            write(str(i))
    finally:
        is_over.set()
        watcher.join()
    assert looks[True] > 100 and not looks[False]
    assert [p.name for p in tmp_path.iterdir()] == ["a\nset"] and (path / "file").read_text() == "999"


@given(
    pixels=hnp.arrays(np.uint8, st.tuples(st.integers(1, 300), st.integers(1, 40), st.just(3))),
    add=st.integers(0, 255),
)
def test_sums_of_pixels_and_squares_are_exact(pixels, add):
    """Whatever the size, and also where all pixels are alike."""
    for picture in (pixels, pixels + np.uint8(add), np.full_like(pixels, add)):
        whole = picture.reshape(-1, 3).astype(np.int64)
        once, squared = sums(picture)
        assert (once == whole.sum(0)).all() and (squared == (whole**2).sum(0)).all()


def test_pictures_of_one_colour_deviate_by_nothing():
    for value in range(256):
        mean, deviation = ChannelStats.of(np.full((3, 7, 3), value, np.uint8)).moments()
        assert mean == pytest.approx([value / 255] * 3, abs=1e-6) and deviation == pytest.approx([0] * 3, abs=1e-6)


@pytest.mark.slow
def test_sums_of_a_large_picture_are_exact():
    picture = np.random.default_rng(0).integers(200, 256, (9_000, 11_000, 3), np.uint8)
    once, squared = sums(picture)
    counts = np.stack([np.bincount(picture[..., channel].ravel(), minlength=256) for channel in range(3)])
    assert (once == counts @ np.arange(256)).all() and (squared == counts @ np.arange(256) ** 2).all()
