"""A dataset folder is opened whole, or named for what is wrong with it."""

from pathlib import Path

import pytest

from tests.study.strategies import manifest
from toolkit.errors import ToolkitError, UsageError
from toolkit.study import Manifest, find_dataset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "odd 'root'\nhere" / "toy"
    folder.mkdir(parents=True)
    (folder / "train.beton").write_bytes(b"1234")
    (folder / "val.beton").write_bytes(b"12")
    manifest("toy", b"1234", b"12").write(folder / "dataset.json")
    return folder.parent


def test_opens_a_whole_folder(root: Path) -> None:
    found = find_dataset("toy", root)
    assert found.manifest.splits["train"].samples == 4
    assert found.beton("val") == root / "toy" / "val.beton"


def test_the_data_root_comes_from_the_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_DATA", str(root))
    assert find_dataset("toy").path == root / "toy"


def test_unknown_name_gets_the_nearest(root: Path) -> None:
    with pytest.raises(UsageError, match="did you mean toy"):
        find_dataset("toys", root)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda toy: (toy / "dataset.json").unlink(), "has no dataset.json"),
        (lambda toy: (toy / "val.beton").unlink(), "val.beton is missing"),
        (lambda toy: (toy / "train.beton").write_bytes(b"123"), "has 3 bytes, its manifest says 4"),
        (lambda toy: (toy / "dataset.json").write_text("{"), "is no manifest"),
        (lambda toy: (toy / "dataset.json").write_text('{"name": 3}'), "is no manifest: name"),
    ],
)
def test_each_damage_is_named(root: Path, damage, message: str) -> None:
    damage(root / "toy")
    with pytest.raises(ToolkitError, match=message):
        find_dataset("toy", root)


def test_what_an_epoch_may_lose_is_what_writing_might_or_one_in_a_hundred_of_an_older_set() -> None:
    old = manifest("toy", b"1234", b"12")
    assert old.max_bad is None and old.losable("train") == 1
    large = old.splits["train"].model_copy(update={"samples": 1234})
    assert old.model_copy(update={"splits": {"train": large}}).losable("train") == 12
    assert [old.model_copy(update={"max_bad": n}).losable("train") for n in (0, 7)] == [0, 7]


def test_counts_must_add_up(root: Path) -> None:
    text = (root / "toy" / "dataset.json").read_text().replace('"samples": 4', '"samples": 5')
    (root / "toy" / "dataset.json").write_text(text)
    with pytest.raises(ToolkitError, match="add up to 4, samples is 5"):
        Manifest.read(root / "toy" / "dataset.json")
