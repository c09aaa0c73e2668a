"""What a user meets who has the wrong folder, or damaged files: one line that says what was looked for and found."""

import importlib
import io
import os
import tarfile

import pyarrow as pa
import pyarrow.parquet
import pytest

from data_prep.storage.tar_entries import Spans, members
from tests.data_prep.pictures import jpeg
from tests.data_prep.sources import layouts
from toolkit.errors import ToolkitError, UsageError

LOOKED_FOR = {
    "cifar": "cifar-10-python.tar.gz or cifar-10-batches-py/data_batch_1",
    "concrete": "a folder Negative/",
    "ham10000": "HAM10000_metadata.csv or HAM10000_metadata.tab or HAM10000_metadata",
    "imagenet": "n01440764/, or ILSVRC2012_img_train.tar",
    "insects": "folders named by the number of a species",
    "mlc2008": "2008/ with photographs and their annotations",
    "natural": "seg_train/",
    "parquet": "*.parquet",
    "powerline": "images at any depth",
    "webdataset": "*.tar",
}


def call(module, root, *arguments):
    main = importlib.import_module(f"data_prep.{module}").main
    return main([str(root), "--data", str(root.parent / "data"), "--workers", "1", *arguments])


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.mark.parametrize("module", layouts.MAKERS)
def test_another_layout_is_told_what_was_looked_for_and_what_is_there(module, root):
    for number in range(8):
        (root / f"{number} notes.txt").write_text("")
    with pytest.raises(UsageError) as error:
        call(module, root)
    assert LOOKED_FOR[module] in str(error.value)
    assert "found 0 notes.txt, 1 notes.txt" in str(error.value)
    assert "and 2 more" in str(error.value)
    assert not (root.parent / "data").exists()


@pytest.mark.parametrize("module", layouts.MAKERS)
def test_a_folder_that_is_not_there_is_no_traceback(module, root):
    with pytest.raises(UsageError, match="is no folder"):
        call(module, root / "missing")


@pytest.mark.parametrize("module", layouts.MAKERS)
def test_the_docstring_says_where_from_under_what_licence_and_which_layout(module):
    doc = importlib.import_module(f"data_prep.sources.{module}").__doc__
    assert all(heading in doc for heading in ("\nWhere from:", "\nLicence:", "\nExpects"))


def test_a_flat_validation_folder_needs_its_answers(root):
    layouts.imagenet_flat(root)
    (root / "ILSVRC2012_validation_ground_truth.txt").unlink()
    with pytest.raises(UsageError, match=r"looked for LOC_val_solution.csv, .*; found meta.mat, train/, val/"):
        call("imagenet", root)


def test_a_ground_truth_needs_the_table_that_translates_it(root):
    layouts.imagenet_flat(root)
    (root / "meta.mat").unlink()
    with pytest.raises(UsageError, match=r"looked for meta.mat beside ILSVRC2012_validation_ground_truth.txt"):
        call("imagenet", root)


def test_a_validation_image_without_an_answer_is_named(root):
    layouts.imagenet_flat(root)
    (root / "val" / "ILSVRC2012_val_00000007.JPEG").write_bytes(jpeg(0))
    with pytest.raises(UsageError, match=r"no class is known of the validation image ILSVRC2012_val_00000007.JPEG"):
        call("imagenet", root)


def test_a_class_of_val_must_be_one_of_train(root):
    layouts.imagenet(root)
    (root / "val" / "n09999999").mkdir()
    with pytest.raises(UsageError, match="n09999999 has a folder in only one of train and val"):
        call("imagenet", root)


def test_a_pickle_that_would_run_code_is_refused_before_it_does(root):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(root / "harmed"),)

    (root / "cifar-100-python").mkdir()
    (root / "cifar-100-python" / "train").write_bytes(layouts.python2_pickle({b"data": Harm()}))
    with pytest.raises(ToolkitError, match=r"train in .*mkdir has no place in it"):
        call("cifar", root, "--classes", "100")
    assert not (root / "harmed").exists()


@pytest.mark.parametrize("cut", [100, 700, 5000])
def test_a_truncated_archive_of_cifar_is_one_line(root, cut):
    layouts.cifar10(root)
    archive = root / "cifar-10-python.tar.gz"
    archive.write_bytes(archive.read_bytes()[:cut])
    with pytest.raises(ToolkitError, match="cannot be read"):
        call("cifar", root)


def test_an_image_that_the_table_of_ham10000_names_must_be_there(root):
    layouts.ham10000(root)
    (root / "HAM10000_images_part_1" / "ISIC_0000.jpg").unlink()
    with pytest.raises(UsageError, match=r"ISIC_0000.jpg \(1 of 35 images are missing\)"):
        call("ham10000", root)


def test_a_picture_whose_path_does_not_say_its_class_is_named(root):
    layouts.powerline(root)
    (root / "STVA.bmp").write_bytes(b"")
    with pytest.raises(UsageError, match=r"TV or TY in the path of every image, and STVA.bmp has neither"):
        call("powerline", root)


def test_an_annotation_that_cannot_be_read_is_named_with_its_line(root):
    (root / "a.jpg.txt").write_text("# Row; Col; Label\n10; 20; Sand\n10, 20, Sand\n")
    with pytest.raises(UsageError, match=r'a.jpg.txt, line 3: looked for "row; column; label"'):
        call("mlc2008", root)


def test_a_sample_of_a_shard_needs_a_class(root):
    layouts.webdataset_json(root)
    with pytest.raises(UsageError, match=r"looked for the class in 000000000.cls; 000000000 has jpg, json"):
        call("webdataset", root)
    with pytest.raises(UsageError, match=r"looked for the field label in 000000000.json; found .*wnid"):
        call("webdataset", root, "--field", "label")


def test_a_compressed_or_truncated_shard_is_one_line(root):
    layouts.webdataset(root)
    shard = root / "train" / "00000.tar"
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(ToolkitError, match=r"00000.tar is no whole, uncompressed tar"):
        call("webdataset", root)
    with tarfile.open(shard, "w:gz") as tar:
        layouts.add(tar, "a.jpg", jpeg(0))
    with pytest.raises(ToolkitError, match=r"00000.tar is no whole, uncompressed tar"):
        call("webdataset", root)


def test_no_shard_is_dropped_in_silence(root):
    layouts.webdataset(root)
    (root / "val" / "00000.tar").rename(root / "00000.tar")
    with pytest.raises(UsageError, match=r"train, val or test in the name of every file, and 00000.tar has none"):
        call("webdataset", root)
    (root / "train").rename(root / "test")
    with pytest.raises(UsageError, match="looked for files called train"):
        call("webdataset", root)


def test_columns_that_nobody_described_must_be_named(root):
    pa.parquet.write_table(pa.table({"picture": [jpeg(0)], "kind": [1]}), root / "a.parquet")
    with pytest.raises(UsageError, match=r"found picture, kind: name them with --image and --label"):
        call("parquet", root)


def test_labels_that_are_withheld_are_no_class(root):
    pa.parquet.write_table(pa.table({"image": [jpeg(0)], "label": pa.array([None], pa.int64())}), root / "a.parquet")
    with pytest.raises(UsageError, match="has label None, which is no class"):
        call("parquet", root)


def test_a_member_is_read_from_where_it_lies_whatever_its_name(tmp_path):
    """Long and strange names take extra headers of their own."""
    names = ["plain.jpg", "d/" * 120 + "deep.jpg", "ünïcode ' \" \n name.jpg"]
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        possible = names if kind != tarfile.USTAR_FORMAT else names[:1]
        path = tmp_path / f"{kind}.tar"
        with tarfile.open(path, "w", format=kind) as tar:
            for number, name in enumerate(possible):
                layouts.add(tar, name, bytes([number]) * (1 + 600 * number))
        spans = Spans()
        for label, member in enumerate(members(path)):
            spans.add(path, member, label)
        assert spans.names == possible
        assert [sample.content.read() for sample in spans] == [bytes([n]) * (1 + 600 * n) for n in range(len(possible))]
        assert [sample.label for sample in spans[1:]] == list(range(1, len(possible)))


def test_a_class_tar_cut_short_inside_imagenets_is_noticed(root):
    layouts.imagenet_tars(root)
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as tar:
        layouts.add(tar, "n01440764_1.JPEG", jpeg(1, 300, 300))
    with tarfile.open(root / "ILSVRC2012_img_train.tar", "w") as tar:
        layouts.add(tar, "n01440764.tar", inner.getvalue()[:1024])
        layouts.add(tar, "n01443537.tar", inner.getvalue())
    with pytest.raises(ToolkitError, match=r"n01440764.tar in it is truncated"):
        call("imagenet", root)
