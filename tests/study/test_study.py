"""A study's folder keeps what was declared and what came out, whatever happens around it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.study.strategies import HASH, result, task
from toolkit.errors import ToolkitError, UsageError
from toolkit.files import atomic
from toolkit.study import Result, Study, Timing, find_dataset
from toolkit.study.conditions import conditions
from toolkit.study.outcomes import outcomes
from toolkit.study.usage import Usage


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.create(tmp_path / 'a study\'s "folder"\nhere')


def test_declaring_adds_and_never_doubles(study: Study) -> None:
    study.declare([task(seed=0), task(seed=1)])
    study.declare([task(seed=1), task(seed=2)])
    assert [t.seed for t in study.tasks().values()] == [0, 1, 2]
    assert Study.open(study.path).task(task(seed=2).id[:6]) == task(seed=2)


def test_unknown_task_and_study(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no task"):
        study.task("ffff")
    with pytest.raises(UsageError, match="unknown study") as refused:
        Study.open(tmp_path / "none")
    assert str(refused.value).endswith(f"in {tmp_path}")
    with pytest.raises(UsageError, match="no name"):
        Study.create("")


def test_results_read_back_as_written(study: Study) -> None:
    one = result(task())
    one.write(study.result_path(one.id))
    assert study.finished() == {one.id}
    assert study.result(one.id) == one
    assert one.error == pytest.approx(0.3)


def test_a_name_is_a_folder_of_runs_and_a_path_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Study.create("mine").path == Path("runs/mine")
    here = Study.create("./mine")
    assert Study.open(here.path).path == Path("mine")


def test_a_damaged_declaration_is_named_by_line(study: Study) -> None:
    study.declare([task()])
    file = next(study.room("tasks").glob("*.jsonl"))
    file.write_bytes(file.read_bytes()[:-9] + b"\n")
    with pytest.raises(ToolkitError, match=r"jsonl:1 is damaged"):
        study.tasks()


def test_a_foreign_result_is_named(study: Study) -> None:
    study.result_path("x").write_text('{"mine": 1}')
    with pytest.raises(ToolkitError, match="is no result"):
        study.result("x")


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_done_result_needs_evaluations() -> None:
    with pytest.raises(ValueError, match="needs its evaluations"):
        Result.model_validate(result(task()).model_dump() | {"evaluations": ()})


@pytest.mark.parametrize("verb", ["launch", "status", "report"])
def test_light_verbs_do_not_import_torch(verb: str) -> None:
    code = f"import sys, toolkit.{verb}; sys.exit(any(m in sys.modules for m in ('torch', 'ffcv', 'timm', 'numba')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_conditions_are_told_a_recipe_a_line() -> None:
    tasks = [task("anynetx-500/0", seed=seed, eval_resolution=64, resolution=32) for seed in (0, 1, 2)]
    tasks += [task("anynetx-500/0", dataset="other", epochs=7)]
    tasks = [one.model_copy(update={"recipe_name": "mine" if one.dataset == "toy" else ""}) for one in tasks]
    assert conditions(tasks) == [
        f"recipe mine: 10 epochs at 32 and 64 pixels, batch 128, seeds 0-2; data: toy ({HASH[:8]})",
        f"recipe without a name: 7 epochs at 224 pixels, batch 128, seed 0; data: other ({HASH[:8]})",
    ]


def test_final_weights_are_a_file(study: Study) -> None:
    assert not study.has_final("a") and study.final_weights("a") is None
    folder = study.checkpoint_folder("a")
    assert folder == study.path / "checkpoints" / "a"
    (folder / "final.pt").mkdir(parents=True)
    assert not study.has_final("a")
    (folder / "final.pt").rmdir()
    (folder / "final.pt").write_bytes(b"")
    assert study.has_final("a") and study.final_weights("a") == folder / "final.pt"


def test_gpu_seconds_of_a_pack_are_shared_out(study: Study) -> None:
    usage = Usage(seconds=1, cpu_s=1, cpus=1, memory_gb=1, gpus=2)
    for seed, pack in enumerate((1, 4)):
        one = result(task(seed=seed)).model_copy(update={"timing": Timing(total_s=10.0), "usage": usage})
        one = one.model_copy(update={"provenance": one.provenance.model_copy(update={"pack": pack, "host": "n1"})})
        one.write(study.result_path(one.id))
    found = outcomes(study.path)
    assert sorted((o.gpu_s, o.seconds, o.host, o.state) for o in found.values()) == [
        (5.0, 10.0, "n1", "done"), (20.0, 10.0, "n1", "done")
    ]  # fmt: skip


def test_a_dataset_that_is_not_there_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "imagenet" / "dataset.json").write_text("{}")
    with pytest.raises(UsageError, match=r"unknown dataset 'imagenot': did you mean imagenet\?"):
        find_dataset("imagenot", tmp_path)


def test_a_beginning_that_several_ids_share_is_told_with_their_number(study: Study) -> None:
    tasks = [task("anynetx-500/0", seed=seed) for seed in range(200)]
    study.declare(tasks)
    for digit in "0123456789abcdef":
        count = sum(one.id.startswith(digit) for one in tasks)
        with pytest.raises(UsageError, match=f"'{digit}' fits {count} tasks of study"):
            study.task(digit)


def test_what_is_not_found_is_named_as_it_was_asked_for(study: Study) -> None:
    study.declare([task("anynetx-500/0", seed=seed) for seed in (0, 1)])
    with pytest.raises(UsageError, match=r"anynetx-500/7 on any dataset is no task of study"):
        study.find("anynetx-500/7")
    with pytest.raises(UsageError, match=r"anynetx-500/7 on toy, seed 3 is no task of study"):
        study.find("anynetx-500/7", "toy", 3)
    with pytest.raises(
        UsageError, match=r"anynetx-500/0 on any dataset fits 2 tasks: give --dataset \(toy\) and --seed \(0-1\)"
    ):
        study.find("anynetx-500/0")


def test_a_task_that_lacks_a_field_is_named_by_its_line(study: Study) -> None:
    study.declare([task("anynetx-500/0")])
    [path] = study.room("tasks").glob("*.jsonl")
    lines = path.read_text() + '{"id":"0123456789abcdef","task":{"architecture":"n/1"}}\n'
    path.write_text(lines)
    with pytest.raises(ToolkitError, match=rf"{path.name}:2 is damaged \('dataset'\); restore it or delete the line"):
        Study.open(study.path).labels()
