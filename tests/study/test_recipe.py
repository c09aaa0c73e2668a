"""Recipes: shipped ones load, unknown fields and bad values are named, datasets have their own epochs."""

import re
import tomllib
from pathlib import Path

import pytest

from toolkit.errors import UsageError
from toolkit.study import Recipe, load_recipe, recipe_names
from toolkit.study.recipe import recipe_help


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_loads(name: str) -> None:
    assert load_recipe(name).epochs >= 1


@pytest.mark.parametrize(
    ("dataset", "epochs"),
    # arXiv 2103.09108: the lengths of the nine sets and of the ImageNet-X draws.
    [
        ("concrete", 20),
        ("mlc2008", 20),
        ("imagenet", 10),
        ("ham10000", 30),
        ("powerline", 20),
        ("insects", 20),
        ("natural", 20),
        ("cifar10", 30),
        ("cifar100", 30),
        ("imagenet-100.2", 10),
        ("imagenet-10.0", 40),
        ("imagenet-5", 40),
        ("imagenet-2.1", 40),
        ("imagenet-1000-10", 10),
    ],
)
def test_published_epochs(dataset: str, epochs: int) -> None:
    assert load_recipe("tuggener2022", dataset).epochs == epochs


def test_changes_come_last(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("epochs = 3\n[datasets.a]\nepochs = 7\n")
    assert load_recipe(str(file), "a-10.1").epochs == 7
    assert load_recipe(str(file), "ab").epochs == 3
    assert load_recipe(str(file), "a", ["epochs=5", "schedule=constant"]).schedule == "constant"


def test_equal_fields_are_the_same_recipe(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("")
    assert load_recipe(str(file)) == Recipe()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epoch=5", "did you mean epochs"),
        ("epochs=0", "epochs: Input should be greater"),
        ("epochs", "write FIELD=VALUE"),
        ("crop_scale=[0.5, 0.1]", "0 < low <= high"),
        ("warmup_epochs=100", "leaves nothing"),
        ("optimizer=lamb", "optimizer"),
    ],
)
def test_bad_changes_are_named(change: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_recipe("quick", changes=[change])


def test_unknown_recipe_and_broken_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean tuggener2022"):
        load_recipe("tugener2022")
    with pytest.raises(UsageError, match="is not there"):
        load_recipe(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_text("epochs = = 3")
    with pytest.raises(UsageError, match="is no TOML"):
        load_recipe(str(tmp_path / "bad.toml"))


def test_the_help_names_every_key_with_its_type_default_and_meaning() -> None:
    lines = recipe_help().splitlines()
    keys = [re.fullmatch(r"(\w+) \((.+); (.+)\)", line) for line in lines[::2]]
    assert [key and key[1] for key in keys] == list(Recipe.model_fields)
    assert all(line.startswith("    ") and len(line) > 10 and "  " not in line.strip() for line in lines[1::2])
    shown = {key[1]: (key[2], key[3]) for key in keys if key}
    assert shown["optimizer"][0].startswith('"sgd" | ')
    assert shown["crop_scale"] == ("[float, float]", "[0.08, 1.0]")
    assert shown["step_epochs"] == ("float | none", "none") and shown["nesterov"] == ("bool", "true")
    for name, (_, default) in shown.items():  # a default is written as a recipe's file has it
        written = {} if default == "none" else tomllib.loads(f"{name} = {default}")
        assert Recipe.model_validate(written) == Recipe() and (written or Recipe.model_fields[name].default is None)
