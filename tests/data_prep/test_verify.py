"""Every kind of damage is found."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.storage.samples import Sample
from data_prep.verification import verify
from data_prep.verify import main
from data_prep.writing.dataset import DatasetInfo, write_dataset
from tests.data_prep.pictures import photo, samples
from toolkit.errors import ToolkitError, UsageError
from toolkit.imagefile.format import HEADER, METADATA_START
from toolkit.imagefile.reader import Beton
from toolkit.study.dataset import MANIFEST, Encoding, Manifest


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A dataset of JPEG and raw images, 2 of which fill a page's rest each."""
    folder = tmp_path_factory.mktemp("whole") / "set"
    given = [*samples(30), *(Sample(str(i), i % 3, photo(i, 1000, 900)) for i in range(4))]
    encoding = Encoding(write_mode="proportion", raw_proportion=0.5)
    write_dataset(folder, {"train": given, "val": samples(6)}, DatasetInfo("abc"), encoding, workers=1)
    return folder


@pytest.fixture
def damaged(whole, tmp_path):
    """A copy of it, and a function that changes bytes of its training split."""
    folder = shutil.copytree(whole, tmp_path / "set")

    def change(position, content):
        with (folder / "train.beton").open("r+b") as file:
            file.seek(position)
            file.write(content)

    return folder, change


def test_a_whole_dataset_has_nothing_wrong(whole, capsys):
    assert verify(whole) == verify(whole, decode=0) == verify(whole, decode=3) == []
    assert main([str(whole)]) == 0
    assert "nothing wrong" in capsys.readouterr().out


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), end=st.booleans())
@pytest.mark.slow
def test_a_bit_flipped_anywhere_is_found(damaged, share, bit, end):
    folder, change = damaged
    path = folder / "train.beton"
    size = path.stat().st_size
    # half of the flips fall on the tables, which are a small part of the file
    position = int(share * size) if end else int(share * (METADATA_START + 34 * 24))
    with path.open("rb") as file:
        file.seek(position)
        before = file.read(1)
    change(position, bytes([before[0] ^ (1 << bit)]))
    try:
        assert verify(folder, decode=0)
    finally:
        change(position, before)


@pytest.mark.parametrize("keep", [0, 10, HEADER.itemsize, METADATA_START, METADATA_START + 50, 0.5, 0.99, -1])
def test_a_file_cut_anywhere_is_found(damaged, keep):
    folder, _ = damaged
    path = folder / "train.beton"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(int(keep * size) if isinstance(keep, float) else keep % size)
    assert any("train.beton" in problem for problem in verify(folder, decode=0))


@pytest.mark.parametrize("table", ["header", "fields", "metadata", "allocations", "page"])
def test_a_zeroed_table_is_found(damaged, table):
    folder, change = damaged
    with Beton.open(folder / "train.beton", "layout") as beton:
        places = {
            "header": (0, HEADER.itemsize),
            "fields": (HEADER.itemsize, METADATA_START),
            "metadata": (METADATA_START, METADATA_START + beton.metadata.nbytes),
            "allocations": (beton.bytes - beton.allocations.nbytes, beton.bytes),
            "page": (1 << 23, (1 << 23) + 50_000),
        }
    start, end = places[table]
    change(start, bytes(end - start))
    assert verify(folder, decode=0)


def test_images_that_changed_are_named(damaged):
    folder, change = damaged
    with Beton.open(folder / "train.beton", "layout") as beton:
        changed = [3, *range(8, 20)]
        for number in changed:
            change(int(beton.offsets[number]) + 50, bytes(4))
    assert verify(folder, decode=0) == [
        f"{folder / 'train.beton'}: images have changed since they were written, 13 of 34: "
        "samples 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, ..."
    ]


@pytest.mark.parametrize("content", [None, b"", b"short", bytes(32 * 34)])
def test_other_digests_than_those_written_are_found(damaged, content):
    folder, _ = damaged
    path = folder / "train.digests"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    (problem,) = verify(folder, decode=0)
    assert ".digests" in problem


def test_labels_counts_and_undecodable_images_are_named(damaged, capsys):
    folder, change = damaged
    with Beton.open(folder / "train.beton", "layout") as beton:
        pointer = int(beton.allocations["ptr"][1])
        labels = METADATA_START + 16
    change(pointer, bytes(300))
    change(labels, np.int64(99).tobytes())
    problems = verify(folder)
    assert any("labels 0 to 99, there are 3 classes" in problem for problem in problems)
    assert any("sample 1: " in problem for problem in problems)
    assert any("content hash differs" in problem for problem in problems)
    assert main([str(folder), "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {str(folder): problems}
    assert captured.err.count("error:") == len(problems)


def test_a_manifest_that_tells_of_other_files_is_found(damaged):
    folder, _ = damaged
    manifest = Manifest.read(folder / MANIFEST)
    splits = {**manifest.splits, "train": manifest.splits["val"].model_copy(update={"file": "train.beton"})}
    manifest.model_copy(update={"splits": splits}).write(folder / MANIFEST)
    assert any("the manifest says" in problem for problem in verify(folder, decode=0))
    (folder / "val.beton").unlink()
    assert any("val.beton cannot be read" in problem for problem in verify(folder, decode=0))


def test_what_is_no_dataset_is_a_wrong_call(tmp_path):
    with pytest.raises(UsageError, match="is no dataset"):
        main(["nothing", "--data", str(tmp_path)])


def test_a_manifest_whose_claims_were_changed_is_refused(damaged):
    folder, _ = damaged
    written = json.loads((folder / MANIFEST).read_text())
    changes = {
        "metric": "top5",
        "classes": written["classes"][::-1],
        "class_names": ["x", "y", "z"],
        "mean": [0.9, 0.9, 0.9],
        "std": [0.9, 0.9, 0.9],
        "content_hash": "0" * 64,
    }
    for name, value in changes.items():
        (folder / MANIFEST).write_text(json.dumps(written | {name: value}))
        with pytest.raises(ToolkitError, match="not those that were written"):
            verify(folder, decode=0)


@pytest.mark.parametrize("name", ["mean", "std"])
def test_mean_and_deviation_are_measured_again(damaged, name):
    """Whoever can write the manifest can hash it again."""
    folder, _ = damaged
    manifest = Manifest.read(folder / MANIFEST)
    moved = tuple(value + 0.002 for value in getattr(manifest, name))
    manifest.model_copy(update={name: moved}).sealed().write(folder / MANIFEST)
    assert verify(folder, decode=0) == []
    (problem,) = verify(folder)
    assert f"{name} of the training images is" in problem
