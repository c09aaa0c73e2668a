"""The words of a launch name each net and each dataset once, or are refused with what does."""

import logging
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import UsageError
from toolkit.launching.request import POPULATION, LaunchRequest
from toolkit.launching.selection import find_nets, select
from toolkit.launching.tasks import make_tasks
from toolkit.study import Study, find_dataset


@given(st.lists(st.integers(0, 499), min_size=1, max_size=8), st.lists(st.integers(0, 499), max_size=4))
def test_members_come_first_and_each_net_once(array: list[int], models: list[int]) -> None:
    names = [f"{POPULATION}/{i}" for i in models]
    found = find_nets(",".join(map(str, array)), POPULATION, names, {})
    assert found.names == list(dict.fromkeys([f"{POPULATION}/{i}" for i in array] + names))


def test_a_whole_population_is_named_by_its_name() -> None:
    assert find_nets(None, POPULATION, (), {}).names == []
    whole = find_nets(None, "imagenot-9", (), {}).names
    assert len(whole) == 9 == len(set(whole))
    assert find_nets(None, POPULATION, ("imagenot-9", whole[0]), {}).names == whole
    assert find_nets("8,0", "imagenot-9", (), {}).names == [whole[8], whole[0]]
    with pytest.raises(UsageError, match="--array '9': index 9 is out of range, the last one is 8"):
        find_nets("9", "imagenot-9", (), {})


def test_tasks_of_a_dataset_stand_together_and_seeds_within(data: Path) -> None:
    nets = ["anynetx-500/0", "anynetx-500/1"]
    datasets = [find_dataset(name, data) for name in ("two", "one")]
    tasks = make_tasks(nets, datasets, "smoke", ["batch=16"], [0, 3])
    assert [(t.dataset, t.seed, t.architecture) for t in tasks] == [
        (name, seed, net) for name in ("two", "one") for seed in (0, 3) for net in nets
    ]
    assert {(t.recipe_name, t.recipe.batch) for t in tasks} == {("smoke", 16)}
    assert {t.dataset_hash for t in tasks} == {d.manifest.content_hash for d in datasets}
    assert {t.manifest_hash for t in tasks} == {d.manifest.manifest_hash for d in datasets}
    with pytest.raises(UsageError, match=r"a batch of 17 is larger than .*two \(16 images\): --set batch=16"):
        make_tasks(nets, datasets, "smoke", ["batch=17"])


def test_datasets_are_told_apart_by_what_they_hold(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    study, options = Study(tmp_path / "study"), {"array": "0", "changes": ("batch=4",)}
    with pytest.raises(UsageError, match=rf"no --dataset given and no demo dataset in {tmp_path}: write some by"):
        select(LaunchRequest(**options), study, tmp_path)
    shutil.copytree(data / "two", tmp_path / "demo-b")
    shutil.copytree(data / "one", tmp_path / "demo-a")
    found = select(LaunchRequest(**options), study, tmp_path)
    assert [task.dataset for task in found.tasks.values()] == ["demo-a", "demo-b"] and found.weights is None
    assert caplog.messages == [
        "datasets demo-a, demo-b, the demo's (--dataset names others)",
        "recipe quick, for a first look (--recipe names another)",
    ]
    again = select(LaunchRequest(**options, dataset=("demo-b", "demo-b"), recipe="quick"), study, tmp_path)
    assert list(again.tasks.values()) == list(found.tasks.values())[1:] and len(caplog.messages) == 2
    shutil.copytree(data / "one", tmp_path / "copy")
    with pytest.raises(UsageError, match=r"--dataset demo-a and copy hold the same images and labels \(one content"):
        select(LaunchRequest(**options, dataset=("demo-a", "copy")), study, tmp_path)
