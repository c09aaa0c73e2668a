"""Shards as downloads really leave them: each file was seen outside this project."""

import csv
import importlib
import shutil
import tarfile
from pathlib import Path

import pytest

from data_prep.sources.imagenet import find
from data_prep.sources.webdataset import main
from tests.data_prep.pictures import jpeg
from tests.data_prep.sources import layouts
from tests.data_prep.sources.layouts import add
from toolkit.errors import ToolkitError
from toolkit.study.dataset import find_dataset

ODD = Path(__file__).parent / "odd"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    (tmp_path / "shards").mkdir()
    return tmp_path / "shards"


def test_a_key_is_a_name_up_to_its_first_dot(shards: Path) -> None:
    shutil.copy(ODD / "wds_key.image.jpg.tar", shards)
    with tarfile.open(ODD / "wds_key.image.jpg.tar") as tar:
        samples = sum(name.endswith(".cls") for name in tar.getnames())
    assert main([str(shards), "--data", str(shards.parent / "data"), "--workers", "1"]) == 0
    splits = find_dataset("shards", shards.parent / "data").manifest.splits.values()
    assert sum(sum(split.class_counts) for split in splits) == samples > 0


def test_a_key_without_an_image_is_counted(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a download that failed leaves it, or a format that nobody reads."""
    with tarfile.open(shards / "a.tar", "w") as tar:
        for number in range(20):
            add(tar, f"{number}.jpg" if number % 5 else f"{number}.jxl", jpeg(number))
            add(tar, f"{number}.cls", b"%d" % (number % 2))
    assert main([str(shards), "--data", str(shards.parent / "data"), "--workers", "1"]) == 0
    manifest = find_dataset("shards", shards.parent / "data").manifest
    assert sum(split.samples for split in manifest.splits.values()) == 16
    assert manifest.provenance == {"files_seen": 20, "passed_over": {"keys without an image": 4}}
    assert "4 of 20 files are passed over (4 keys without an image)" in capsys.readouterr().err


def test_a_shard_without_its_end_is_no_whole_shard(shards: Path) -> None:
    shutil.copy(ODD / "wds_cut_at_member_boundary.tar", shards)
    with pytest.raises(ToolkitError, match=r"wds_cut_at_member_boundary\.tar"):
        main([str(shards), "--data", str(shards.parent / "data"), "--workers", "1"])


def test_answers_that_a_spreadsheet_saved_are_read(tmp_path: Path) -> None:
    """With a byte order mark before the first column's name."""
    shutil.copy(ODD / "LOC_val_solution_bom.csv", tmp_path / "LOC_val_solution.csv")
    with (ODD / "LOC_val_solution_bom.csv").open(encoding="utf-8-sig", newline="") as file:
        answers = {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(file)}
    (tmp_path / "val").mkdir()
    for number, (name, wnid) in enumerate(answers.items()):
        (tmp_path / "train" / wnid).mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / wnid / f"{number}.JPEG").write_bytes(jpeg(number))
        (tmp_path / "val" / f"{name}.JPEG").write_bytes(jpeg(100 + number))
    found = find(tmp_path)
    labels = {Path(sample.key).stem: found.classes[sample.label] for sample in found.splits["val"]}
    assert labels == answers and len(set(answers.values())) == 3


@pytest.mark.parametrize(
    ("maker", "rooms", "more", "passed_over"),
    [
        (layouts.powerline, [""], ["about.txt", "VL/LICENSE"], {".txt": 1, "without ending": 1}),
        (
            layouts.ham10000,
            [""],
            ["masks/ISIC_9.jpg", "again/ISIC_0000.jpg"],
            {".csv": 1, "copies of an image": 1, "images that the table does not name": 1},
        ),
        (layouts.imagenet_flat, ["train", "val"], ["train/n01440764/a.txt", "val/list.csv"], {".txt": 1, ".csv": 1}),
    ],
    ids=["powerline", "ham10000", "imagenet"],
)
def test_files_of_a_flat_folder_add_up(maker, rooms, more, passed_over, tmp_path: Path, capsys) -> None:
    case = maker(tmp_path / "root")
    for name in more:
        (tmp_path / "root" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "root" / name).write_bytes(jpeg(1))
    files = [path for room in rooms for path in (tmp_path / "root" / room).rglob("[!._]*") if path.is_file()]
    next(path for path in files if path.suffix in (".bmp", ".JPEG") or path.stem == "ISIC_0061").write_bytes(b"")
    call = [str(tmp_path / "root"), "--data", str(tmp_path), "--workers", "1", "--max-bad", "1", *case.arguments]
    assert importlib.import_module(f"data_prep.{case.name}").main(call) == 0
    manifest = find_dataset(case.name, tmp_path).manifest
    assert manifest.provenance == {"files_seen": len(files), "passed_over": passed_over}
    written = sum(split.samples for split in manifest.splits.values())
    assert len(files) == written + len(manifest.skipped) + sum(passed_over.values()) and len(manifest.skipped) == 1
    assert f"{sum(passed_over.values())} of {len(files)} files passed over" in capsys.readouterr().out
