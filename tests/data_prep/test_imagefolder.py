import numpy as np
import pytest

from data_prep.sources.imagefolder import main
from data_prep.storage.image_tree import hold_out
from tests.data_prep.pictures import jpeg, tree
from toolkit.errors import UsageError
from toolkit.imagefile.reader import Beton
from toolkit.study.dataset import find_dataset


def write(root, data, *more):
    assert main([str(root), "--data", str(data), "--workers", "1", *more]) == 0
    return find_dataset(root.name, data)


def test_a_tree_with_both_splits_passes_through_unchanged(odd_path):
    root = tree(odd_path / "pets")
    dataset = write(root, odd_path / "data")
    assert dataset.manifest.classes == ("cat", "dog")
    assert dataset.manifest.split_rule == ""
    with Beton.open(dataset.beton("train"), "layout") as beton:
        expected = [(root / "train" / name / f"{i}.jpg").read_bytes() for name in ("cat", "dog") for i in range(5)]
        assert [beton.image(i).data for i in range(10)] == expected
        assert beton.labels.tolist() == [0] * 5 + [1] * 5


def test_a_tree_without_validation_has_a_tenth_of_each_class_held_out(tmp_path):
    root = tree(tmp_path, images=20, splits=("pets",)) / "pets"
    (root / "dog" / "deep" / "er").mkdir(parents=True)
    (root / "dog" / "deep" / "er" / "x.PNG").write_bytes(jpeg(7))
    (root / "dog" / "notes.txt").write_text("no image")
    manifest = write(root, tmp_path / "data", "--seed", "3").manifest
    assert manifest.splits["train"].class_counts == (18, 19)
    assert manifest.splits["val"].class_counts == (2, 2)
    assert manifest.split_rule.startswith("10% of each class held out, seed 3")


def test_held_out_images_depend_on_the_seed_and_cover_every_class():
    labels = np.random.default_rng(0).integers(0, 5, 300).tolist()
    numbers = list(range(300))
    splits, _ = hold_out(numbers, labels, seed=1)
    again, _ = hold_out(numbers, labels, seed=1)
    other, _ = hold_out(numbers, labels, seed=2)
    assert list(splits["val"]) == list(again["val"]) != list(other["val"])
    assert sorted([*splits["train"], *splits["val"]]) == numbers
    for label in range(5):
        of_class = [n for n in numbers if labels[n] == label]
        assert len(set(of_class) & set(splits["val"])) == round(len(of_class) / 10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "has no folders"),
        (lambda root: (root / "cat").mkdir(), "cat holds no images"),
        (lambda root: tree(root, images=1, splits=("",)), "one image: too few"),
        (lambda root: (tree(root), (root / "val" / "cow").mkdir()), "different classes .cow"),
    ],
)
def test_a_wrong_layout_is_named(tmp_path, make, message):
    root = tmp_path / "pets"
    root.mkdir()
    make(root)
    with pytest.raises(UsageError, match=message):
        main([str(root), "--data", str(tmp_path / "data")])
    assert not (tmp_path / "data").exists() or not any((tmp_path / "data").iterdir())
