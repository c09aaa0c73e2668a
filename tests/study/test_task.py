"""A task's id says what is trained, and nothing else."""

import pytest

from tests.study.strategies import task
from toolkit.study.task import Start


def test_the_id_is_frozen() -> None:
    # A change here orphans every result users have: add fields with defaults that keep the old behaviour.
    assert task().id == "7377024e299ad6cb"
    assert task(epochs=5, seed=3).id == "4917f2585e593886"


@pytest.mark.parametrize("same", [{"dataset": "copy-of-toy"}, {"recipe_name": "mine"}, {"seed": 0}])
def test_names_do_not_touch_the_id(same: dict[str, object]) -> None:
    assert task().model_copy(update=same).id == task().id


def test_each_scientific_field_does() -> None:
    ids = {
        task().id,
        task("anynetx-500/1").id,
        task(seed=1).id,
        task(lr=0.2).id,
        task().model_copy(update={"dataset_hash": "cd" * 32}).id,
        task().model_copy(update={"start": Start(task="0" * 16, dataset="imagenet")}).id,
    }
    assert len(ids) == 6


def test_a_default_spelled_out_is_the_default() -> None:
    assert task(epochs=10).id == task().id


def test_a_transfer_is_a_column_of_its_own() -> None:
    moved = task(dataset="cifar10").model_copy(update={"start": Start(task="0" * 16, dataset="imagenet")})
    assert moved.column == "cifar10<-imagenet"
