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


@pytest.mark.parametrize(
    ("splits", "used"),
    [
        (("train", "test"), ("train", "test")),
        (("train", "valid", "test"), ("train", "valid")),
        (("training", "validation"), ("training", "validation")),
        (("Train", "Val"), ("Train", "Val")),
    ],
)
def test_splits_are_known_by_their_usual_names(tmp_path, capsys, splits, used):
    root = tree(tmp_path / "pets", splits=splits)
    dataset = write(root, tmp_path / "data")
    assert dataset.manifest.classes == ("cat", "dog")
    for split, folder in zip(("train", "val"), used, strict=True):
        with Beton.open(dataset.beton(split), "layout") as beton:
            assert beton.image(0).data == (root / folder / "cat" / "0.jpg").read_bytes()
    assert ("test is not used" in capsys.readouterr().err) == (len(splits) == 3)


def test_train_alone_holds_out_a_tenth_and_its_folders_are_the_classes(tmp_path):
    manifest = write(tree(tmp_path / "pets", images=10, splits=("train",)), tmp_path / "data").manifest
    assert manifest.classes == ("cat", "dog")
    assert manifest.splits["val"].class_counts == (1, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: tree(root / "inner", splits=("train", "val")), "has one class, inner: give .*--one-class"),
        (lambda root: tree(root, splits=("train", "cars")), "train/ beside cars/: --layout splits"),
        (lambda root: tree(root, splits=("train", "training")), "two folders of one split"),
        (lambda root: tree(root, splits=("val", "test")), "nothing to train on"),
        (lambda root: (tree(root), (root / "train" / "cat" / "loop").symlink_to("..")), "a folder that it is in"),
        (lambda root: (tree(root), (root / "train" / "cat" / "x.jpg").symlink_to("/etc/passwd")), "out of the tree"),
        (lambda root: (tree(root / "a"), (root / "train").symlink_to("/etc")), "out of the tree|beside"),
    ],
)
def test_what_can_be_read_in_two_ways_is_a_question(tmp_path, make, message):
    (tmp_path / "pets").mkdir()
    make(tmp_path / "pets")
    with pytest.raises(UsageError, match=message):
        main([str(tmp_path / "pets"), "--data", str(tmp_path / "data")])


def test_the_user_says_which_reading_is_meant(tmp_path):
    root = tree(tmp_path / "vehicles", images=10, splits=("",), classes=("car", "train"))
    assert write(root, tmp_path / "data", "--layout", "classes").manifest.classes == ("car", "train")
    one = tree(tmp_path / "one", images=10, splits=("",), classes=("car",))
    assert write(one, tmp_path / "data", "--one-class").manifest.classes == ("car",)


def test_files_add_up_and_what_others_left_is_not_the_users(tmp_path, capsys):
    root = tree(tmp_path / "pets", images=10, splits=("",))
    (root / "cat" / "no-ending").write_bytes(jpeg(50))
    (root / "cat" / "b.jfif").write_bytes(jpeg(51))
    (root / "cat" / "notes.txt").write_text("no image")
    (root / "cat" / "x.exe").write_text("what is this")
    for foreign in (".ipynb_checkpoints/a.jpg", "__MACOSX/a.jpg", "@eaDir/a.jpg", "._0.jpg", "Thumbs.db", ".DS_Store"):
        (root / "cat" / foreign).parent.mkdir(exist_ok=True)
        (root / "cat" / foreign).write_bytes(jpeg(52))
    (root / "__MACOSX").mkdir()
    (root / ".ipynb_checkpoints").mkdir()
    manifest = write(root, tmp_path / "data", "--max-bad", "1").manifest
    assert [bad.source for bad in manifest.skipped] == ["cat/x.exe"]
    written = sum(split.samples for split in manifest.splits.values())
    assert written == 22
    assert manifest.provenance == {"files_seen": 24, "passed_over": {".txt": 1}}
    assert manifest.provenance["files_seen"] == written + len(manifest.skipped) + 1
    said = capsys.readouterr()
    assert "1 of 24 files are passed over (1 .txt)" in said.err
    assert ", 1 left out (see dataset.json), 1 of 24 files passed over;" in said.out


def test_classes_that_are_one_to_the_eye_are_named(tmp_path, capsys):
    root = tree(tmp_path / "pets", images=2, splits=("",))
    (root / "Cat").mkdir()
    for i in range(2):
        (root / "Cat" / f"{i}.jpg").write_bytes(jpeg(60 + i))
    assert "Cat" in write(root, tmp_path / "data").manifest.classes
    assert "spelling alone are taken as different: 'Cat' and 'cat'" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("typed", "meant"), [("--max_resolution=100", "--max-resolution"), ("--num-workers", "--workers")]
)
def test_an_option_as_other_programs_spell_it_is_a_hint(tmp_path, typed, meant):
    with pytest.raises(UsageError, match=rf"did you mean {meant}\?"):
        main([str(tmp_path), typed])


def test_a_class_of_one_image_is_named(tmp_path):
    root = tree(tmp_path / "pets", splits=("",))
    (root / "cow").mkdir()
    (root / "cow" / "0.jpg").write_bytes(jpeg(9))
    with pytest.raises(UsageError, match="class cow has one image"):
        main([str(root), "--data", str(tmp_path / "data")])


def test_a_link_in_a_circle_is_left_out_by_its_name(tmp_path):
    root = tree(tmp_path / "pets")
    (root / "train" / "cat" / "y").symlink_to("y")
    (skipped,) = write(root, tmp_path / "data", "--max-bad", "1").manifest.skipped
    assert skipped.source.endswith("cat/y") and "symbolic links" in skipped.reason


def test_links_out_of_the_tree_are_followed_when_asked(tmp_path):
    tree(tmp_path / "store")
    (tmp_path / "pets").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).symlink_to(next((tmp_path / "store").rglob(name)))
    with pytest.raises(UsageError, match="--follow-links"):
        write(tmp_path / "pets", tmp_path / "data")
    assert write(tmp_path / "pets", tmp_path / "data", "--follow-links").manifest.classes == ("cat", "dog")
