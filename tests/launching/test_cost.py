"""The cost of tasks is a sum over images, and its hours follow from one rate."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.anynet import architecture
from toolkit.errors import UsageError
from toolkit.launching.cost import MEASURED, RATE, Size, chosen_rate, estimate
from toolkit.launching.published_cost import published_cost
from toolkit.launching.request import LaunchRequest
from toolkit.study import Recipe, Task

sizes = st.builds(Size, st.integers(1, 10**6), st.integers(1, 10**6), st.sampled_from([2, 10]))


def task(net: str = "anynetx-500/0", dataset: str = "a", **recipe: object) -> Task:
    return Task(architecture=net, dataset=dataset, dataset_hash=dataset, recipe=Recipe.model_validate(recipe))


@given(sizes, st.integers(1, 5))
@settings(max_examples=20)
def test_an_image_costs_three_passes_in_training_and_one_in_evaluation(size: Size, epochs: int) -> None:
    net = architecture("anynetx-500/0")
    train, val = (net.complexity(side, size.classes).flops for side in (32, 64))
    found = estimate([task(epochs=epochs, resolution=32, eval_resolution=64)], lambda _: size)
    assert found.images == epochs * size.train
    assert found.flops == epochs * (3 * size.train * train + size.val * val)
    assert found.hours == pytest.approx(found.flops / MEASURED.macs_per_s / 3600)
    assert (found.device, found.basis, found.uncounted) == (MEASURED.device, MEASURED.basis, 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), min_size=1, max_size=5))
@settings(max_examples=20)
def test_the_cost_of_tasks_is_the_sum_of_their_costs(cells: list[tuple[int, str]]) -> None:
    known = {"a": Size(10, 5, 2), "b": Size(20, 7, 3)}
    tasks = [task(f"anynetx-500/{net}", dataset) for net, dataset in cells]
    alone = [estimate([one], known.__getitem__) for one in tasks]
    together = estimate(tasks, known.__getitem__)
    assert together.flops == sum(one.flops for one in alone)
    assert together.images == sum(one.images for one in alone)
    assert together.hours == pytest.approx(sum(one.hours for one in alone))


def test_a_net_that_only_building_counts_is_in_the_images_alone() -> None:
    found = estimate([task(), task("timm/resnet18?drop_rate=0.1")], lambda _: Size(10, 5, 2))
    assert (found.uncounted, found.images) == (1, 200)
    assert found.flops == estimate([task()], lambda _: Size(10, 5, 2)).flops


def test_a_rate_of_ones_own_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RATE, "")
    assert chosen_rate() == MEASURED
    monkeypatch.setenv(RATE, "a=b = 2e12")
    assert chosen_rate() == ("a=b", 2e12, "TOOLKIT_RATE=a=b = 2e12")
    monkeypatch.setenv(RATE, "3600")
    assert chosen_rate() == ("a device", 3600, "TOOLKIT_RATE=3600")
    assert estimate([task()], lambda _: Size(1, 1, 2)).hours * 3600**2 == pytest.approx(
        estimate([task()], lambda _: Size(1, 1, 2)).flops
    )
    monkeypatch.setenv(RATE, "fast")
    with pytest.raises(UsageError, match=r"^TOOLKIT_RATE='fast': write NAME=MULTIPLY-ADDS A SECOND, such as"):
        chosen_rate()


def test_a_published_study_is_the_sum_of_its_datasets() -> None:
    found = published_cost("tuggener2022", LaunchRequest(array="0-1"))
    rows = found["datasets"]
    assert found["tasks"] == 2 * len(rows) and found["uncounted"] == 0 and found["study"] == "tuggener2022"
    for column in ("images", "flops"):
        assert found[column] == sum(row[column] for row in rows.values())
    assert all(row["images"] == 2 * row["epochs"] * row["train"] for row in rows.values())
    assert found["hours"] == pytest.approx(sum(row["hours"] for row in rows.values()), abs=0.05 * (1 + len(rows)))
    assert found["hours_on"] == f"{MEASURED.device} ({MEASURED.basis})"
    # 9.34e9 images of 72 to 224 pixels and 1.5e9 of 32, at what was measured on a card, and evaluation beside them
    assert 2 / 500 * 800 < found["gpu_hours"] < 2 / 500 * 1000
    assert published_cost("tuggener2022", LaunchRequest(array="0", changes=("resolution=256",)))["gpu_hours"] is None
    whole = published_cost("tuggener2022", LaunchRequest(models=("imagenot-9",), changes=("epochs=1",)))
    assert whole["tasks"] == 9 * len(rows) and {row["epochs"] for row in whole["datasets"].values()} == {1}
    assert whole["gpu_hours"] is None
    with pytest.raises(UsageError, match="leave --dataset out"):
        published_cost("tuggener2022", LaunchRequest(dataset=("a",)))
