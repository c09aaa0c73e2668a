"""Subsets: the parent's bytes under new labels."""

import json
import shutil
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data_prep.storage.samples import Sample
from data_prep.subset import main
from data_prep.verification import verify
from data_prep.writing import dataset as writer
from data_prep.writing.dataset import DatasetInfo, write_dataset
from tests.conftest import WORDNET, real_part
from tests.data_prep.pictures import jpeg, samples
from toolkit.errors import ToolkitError, UsageError
from toolkit.imagefile.format import METADATA, METADATA_START
from toolkit.imagefile.reader import Beton
from toolkit.study.dataset import Encoding, find_dataset

WNIDS = ("n02084071", "n02121620", "n02958343", "n03790512", "n02330245", "n02374451")
# dog, cat, car, motorcycle, mouse, horse


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a parent of six classes, 20 training and 5 validation images each, partly raw."""
    root = tmp_path_factory.mktemp("data")
    about = DatasetInfo(
        WNIDS, ["dog", "cat", "car", "motorcycle", "mouse", "horse"], metric="top5", source="made", title="Six"
    )
    encoding = Encoding(write_mode="proportion", raw_proportion=0.3)
    splits = {"train": samples(120, 6), "val": samples(30, 6, first=500)}
    write_dataset(root / "six", splits, about, encoding, workers=1)
    return root


@pytest.fixture
def subset(data, tmp_path):
    """Call the verb with a copy of the parent; returns the datasets that were made, by name."""
    (tmp_path / "six").symlink_to(data / "six")

    def call(*options):
        assert main(["six", "--data", str(tmp_path), "--workers", "2", *options]) == 0
        return {p.name: find_dataset(p.name, tmp_path) for p in sorted(tmp_path.iterdir()) if p.name != "six"}

    return call


def images_by_class(dataset, split="train"):
    """Encoded images by class id, in order."""
    with Beton.open(dataset.beton(split), "layout") as beton:
        found = [(dataset.manifest.classes[label], beton.image(i)) for i, label in enumerate(beton.labels)]
    return {wnid: [image for of, image in found if of == wnid] for wnid in dataset.manifest.classes}


def test_draws_are_named_independent_and_byte_for_byte_the_parents(subset, data):
    made = subset("--classes", "3", "2", "--draws", "3")
    assert list(made) == ["six-2.1", "six-2.2", "six-2.3", "six-3.1", "six-3.2", "six-3.3"]
    parent = find_dataset("six", data)
    for dataset in made.values():
        manifest = dataset.manifest
        assert manifest.classes == tuple(wnid for wnid in WNIDS if wnid in manifest.classes)
        assert manifest.parent.content_hash == parent.manifest.content_hash
        assert (manifest.parent.seed, manifest.encoding) == (0, parent.manifest.encoding)
        assert verify(dataset.path) == []
        for split in ("train", "val"):
            expected = images_by_class(parent, split)
            assert images_by_class(dataset, split) == {wnid: expected[wnid] for wnid in manifest.classes}
    assert len({dataset.manifest.classes for dataset in made.values()}) > 2


def test_draws_of_all_classes_are_said_to_be_one(subset, capsys):
    subset("--classes", "6", "3", "--draws", "2")
    assert "--classes 6 takes all classes: the 2 draws are the same" in capsys.readouterr().err
    subset("--classes", "6", "--draws", "2", "--per-class", "4", "--overwrite")
    assert "draws are" not in capsys.readouterr().err


def test_a_seed_gives_the_same_subset_again_and_another_seed_another(subset, capsys):
    hashes = []
    for seed in "007":
        subset("--classes", "3", "--per-class", "4", "--seed", seed, "--overwrite", "--json")
        hashes.append(json.loads(capsys.readouterr().out)["content_hash"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_size_control_caps_training_images_only(subset, data):
    (dataset,) = subset("--per-class", "5").values()
    assert dataset.path.name == "six-6-5"
    assert dataset.manifest.splits["train"].class_counts == (5,) * 6
    assert dataset.manifest.splits["val"].class_counts == (5,) * 6
    parents = images_by_class(find_dataset("six", data))
    for wnid, images in images_by_class(dataset).items():
        positions = [parents[wnid].index(image) for image in images]
        assert positions == sorted(positions)
        assert positions != list(range(5)) or wnid != WNIDS[0]


def test_label_noise_changes_that_share_of_training_labels(subset, data):
    (dataset,) = subset("--label-noise", "0.25").values()
    assert dataset.path.name == "six-noise25"
    with (
        Beton.open(dataset.beton("train"), "layout") as noisy,
        Beton.open(find_dataset("six", data).beton("train"), "layout") as clean,
    ):
        assert (noisy.labels != clean.labels).sum() == 30
        assert set(noisy.labels) == set(range(6))
        assert np.array_equal(noisy.content()["digest"], clean.content()["digest"])
    assert dataset.manifest.splits["val"].class_counts == (5,) * 6
    assert dataset.manifest.parent.note == {"label_noise": 0.25, "draw": 1}


def test_an_explicit_list_of_ids_or_names(subset, tmp_path):
    listing = tmp_path.parent / f"{tmp_path.name}.txt"
    listing.write_text("# pets\nn02121620 cat, true cat\n\ndog\n")
    (dataset,) = subset("--class-list", str(listing), "--name", "pets").values()
    assert dataset.manifest.classes == WNIDS[:2]
    assert dataset.manifest.class_names == ("dog", "cat")
    assert (dataset.manifest.parent.seed, dataset.manifest.metric) == (None, "top1")
    listing.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no readable UTF-8 text"):
        subset("--class-list", str(listing), "--name", "x")
    listing.write_text("n02121621\n")
    with pytest.raises(UsageError, match=r"unknown class in .* did you mean n02121620"):
        subset("--class-list", str(listing), "--name", "x")


def test_classes_merge_along_wordnet(subset):
    if not WORDNET.is_dir():
        real_part("WordNet")
    with pytest.raises(UsageError, match="would have one class"):
        subset("--merge-depth", "0")
    (dataset,) = subset("--merge-depth", "10").values()
    manifest = dataset.manifest
    assert len(manifest.classes) < 6
    assert sum(manifest.splits["train"].class_counts) == 120
    assert "placental" in manifest.class_names
    assert manifest.parent.classes == WNIDS
    counts = Counter(dict(zip(manifest.class_names, manifest.splits["train"].class_counts, strict=True)))
    assert counts["placental"] == 80


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --classes"),
        (["--classes", "7"], "six has 6 classes"),
        (["--classes", "1"], "at least 2"),
        (["--classes", "3", "2", "--name", "x"], "one subset"),
        (["--classes", "3", "--draws", "0"], "at least 1"),
        (["--label-noise", "2"], "share"),
        (["--num-workers", "2", "--classes", "3"], r"did you mean --workers\?"),
        (["--label_noise", "0.2"], r"did you mean --label-noise\?"),
        (["--merge-depth", "3", "--wordnet", "/nowhere"], "WordNet 3.0"),
        (["--class-list", "/nowhere", "--name", "x"], "no file"),
        (["--classes", "6", "--name", "six"], "there already"),
    ],
)
def test_wrong_calls(subset, options, message):
    with pytest.raises(UsageError, match=message):
        subset(*options)


@pytest.fixture
def own_parent(subset, data, tmp_path):
    """The subset verb, with a parent of its own, and a function that overwrites places in one of the parent's files."""
    (tmp_path / "six").unlink()
    shutil.copytree(data / "six", tmp_path / "six")

    def damage(name, positions):
        with (tmp_path / "six" / name).open("r+b") as file:
            for position in positions:
                file.seek(position)
                file.write(b"\xff" * 40)

    return subset, damage


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("metadata", "damaged"),
        ("images", r"train.beton is damaged: the image of sample \d+ is not the one that was written"),
        ("labels", "six is damaged: labels or digests are not those"),
        ("digests", "six is damaged: labels or digests are not those"),
    ],
)
def test_a_damaged_parent_is_refused_and_leaves_nothing(own_parent, data, tmp_path, name, message):
    subset, damage = own_parent
    with Beton.open(data / "six" / "train.beton", "layout") as parent:
        images = parent.offsets.tolist()
    first_label = METADATA_START + METADATA.fields["label"][1]
    places = {"metadata": [3000], "images": images, "labels": [], "digests": [70]}
    damage("train.digests" if name == "digests" else "train.beton", places[name])
    if name == "labels":
        with (tmp_path / "six" / "train.beton").open("r+b") as file:
            file.seek(first_label)
            file.write(np.int64(5).tobytes())
    with pytest.raises(ToolkitError, match=message):
        subset("--classes", "6")
    assert [Path(p).name for p in tmp_path.iterdir()] == ["six"]


def test_a_parent_without_its_digests_is_refused(own_parent, tmp_path):
    (tmp_path / "six" / "val.digests").unlink()
    with pytest.raises(ToolkitError, match=r"val.digests is damaged: it cannot be read \(No such file"):
        own_parent[0]("--classes", "6")


def test_an_image_that_a_disk_has_spoiled_is_found_in_the_subset_too(own_parent, data, tmp_path, monkeypatch):
    """Few images are looked at while they are copied; the others keep the digest of when they were written."""
    monkeypatch.setattr(writer, "MEASURED", 1)
    subset, damage = own_parent
    with Beton.open(data / "six" / "train.beton", "layout") as parent:
        damage("train.beton", [int(parent.offsets[7]) + 100])
    (dataset,) = subset("--classes", "6").values()
    for path in (tmp_path / "six", dataset.path):
        assert verify(path, decode=0) == [
            f"{path / 'train.beton'}: images have changed since they were written, 1 of 120: samples 7"
        ]


def test_what_libjpeg_says_of_a_parents_images_is_not_said_again(tmp_path, capfd, recwarn):
    """The parent has them, rubbish between two segments and all; filters of warnings stay as they were."""
    content = jpeg(0)[:-2] + b"rubbish\xff\xd9"
    splits = {split: [Sample(str(i), i % 2, content) for i in range(40)] for split in ("train", "val")}
    write_dataset(tmp_path / "two", splits, DatasetInfo("ab"), workers=1)
    before = list(warnings.filters)
    recwarn.clear()
    assert main(["two", "--per-class", "15", "--data", str(tmp_path), "--workers", "4"]) == 0
    assert "extraneous" not in capfd.readouterr().err and not recwarn.list
    assert list(warnings.filters) == before
