"""GPU hours follow from the images a second that a run of the benchmark measured."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import UsageError
from toolkit.launch import main
from toolkit.launching.cost import Size
from toolkit.launching.gpu_rates import H200, GpuRates, gpu_hours, read_gpu_rates
from toolkit.launching.published_cost import published_cost
from toolkit.launching.reconcile import make_plan, preview
from toolkit.launching.request import LaunchRequest
from toolkit.study import Recipe, Task

ROWS = [
    {"k": 8, "side": 224, "ways": "", "arithmetic": 4000.0, "pack": 3000.0, "one by one": 1000.0},
    {"k": 8, "side": 32, "ways": "", "pack": 6000.0},
    {"k": 8, "side": 224, "ways": "cuda-graphs fused-norm", "pack": 9000.0},
    {"k": 16, "side": 32, "ways": "cuda-graphs", "pack": 36000.0},
    {"k": 1, "side": 224, "ways": "", "pack": 99999.0},
]


def run(folder: Path, rows: list[Any]) -> str:
    (folder / "packs.json").write_text(json.dumps({"part": "packs", "device": "a card", "rows": rows}))
    return str(folder)


def test_the_best_pack_of_several_nets_is_the_rate_of_a_side(tmp_path: Path) -> None:
    rates = read_gpu_rates(run(tmp_path, ROWS))
    told = "up to 32 pixels 16 nets, cuda-graphs; up to 224 pixels 8 nets, cuda-graphs fused-norm"
    assert rates == ("a card", f"{tmp_path}/packs.json: {told}", ((32, 36000.0), (224, 9000.0)))


def task(net: str = "anynetx-500/0", **recipe: Any) -> Task:
    return Task(architecture=net, dataset="a", dataset_hash="a", recipe=Recipe.model_validate(recipe))


sides, counts = st.integers(8, 224), st.integers(1, 10**6)


@given(sides, sides, counts, counts, st.integers(1, 9))
def test_every_epoch_trains_and_evaluates_all_images(
    side: int, at_evaluation: int, train: int, val: int, epochs: int
) -> None:
    rates = GpuRates("", "", ((32, 100.0), (128, 10.0), (224, 1.0)))
    slow = {s: next(rate for largest, rate in rates.images_s if s <= largest) for s in (side, at_evaluation)}
    seconds = epochs * (train / slow[side] + val / slow[at_evaluation])
    one = task(epochs=epochs, resolution=side, eval_resolution=at_evaluation)
    for count in (1, 3):
        found = gpu_hours([one] * count, lambda _: Size(train, val, 2), rates)
        assert found == pytest.approx(count * seconds / 3600)


def test_what_was_not_measured_has_no_hours() -> None:
    def hours(one: Task) -> float | None:
        return gpu_hours([task(), one], lambda _: Size(10, 10, 2), H200)

    assert hours(task(resolution=224)) is not None
    assert hours(task(resolution=225)) is hours(task(eval_resolution=256)) is hours(task("timm/resnet18")) is None


@pytest.mark.parametrize(
    "rows, said",
    [
        ([row for row in ROWS if row["k"] == 1], "has no pack of 4 nets: run toolkit.bench gpu --only packs on a GPU"),
        ([{"k": 8, "side": 32, "ways": "", "pack": 0.0}], "pack: .*greater than 0"),
        ([{"k": 8, "side": 32}], "ways"),
        ([5], "is no table of toolkit.bench gpu"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, rows: list[Any], said: str) -> None:
    folder = run(tmp_path, rows)
    with pytest.raises(UsageError, match=f"--rates: .*packs.json.*{said}"):
        read_gpu_rates(folder)
    (tmp_path / "packs.json").unlink()
    with pytest.raises(UsageError, match=r"packs\.json cannot be read"):
        read_gpu_rates(folder)


def test_a_preview_counts_hours_of_the_gpu_that_was_measured(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path, ROWS)
    published = published_cost("tuggener2022", LaunchRequest(rates=folder))
    assert published["gpu"].startswith("a card (") and 300 < published["gpu_hours"] < 878.5 * 3430 / 9000 + 15
    how = {"dataset": ("one",), "data": str(data), "executor": "debug", "changes": ("batch=4",)}
    asked = LaunchRequest(study=str(tmp_path / "s"), array="0-2", **how)
    assert "gpu_hours" not in preview(make_plan(asked))
    assert preview(make_plan(replace(asked, rates=folder))).keys() >= {"gpu_hours", "gpu"}
    named = [
        "--models",
        "timm/resnet18",
        "--dataset",
        "one",
        "--data",
        str(data),
        "--study",
        asked.study,
        "--set",
        "batch=4",
    ]
    assert main([*named, "--executor", "debug", "--dry-run", "--rates", folder]) == 0
    assert "gpu hours:   not told: sampled nets were measured" in capsys.readouterr().out
    with pytest.raises(UsageError, match="give --dry-run with it"):
        main([*named, "--rates", folder])
