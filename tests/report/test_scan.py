"""The scan: every result once, every file that is none named, attributes and odd studies told apart."""

import polars as pl
import pytest

from tests.report.studies import make_result, make_task, write_study
from toolkit import report
from toolkit.analysis.study_source import study_measurements
from toolkit.errors import UsageError
from toolkit.study import Recipe
from toolkit.study import scan as scans
from toolkit.study.scan import columns, scan
from toolkit.study.task import Start


def test_a_scan_has_what_the_results_say(tmp_path):
    tasks = [make_task("anynetx-500/0", "a"), make_task("anynetx-500/1", "a", start=Start(task="0" * 16, dataset="b"))]
    study = write_study(tmp_path / "s", [make_result(tasks[0], 250), make_result(tasks[1], None, status="diverged")])
    found = scan(study)
    assert found.problems == [] and dict(found.frame.schema) == columns()
    diverged, done = found.frame.sort("status").to_dicts()
    assert (diverged["status"], diverged["dataset"], diverged["error"]) == ("diverged", "a<-b", None)
    assert diverged["failure"] == "nan-loss: loss is NaN in epoch 1"
    assert (done["error"], done["wrong"], done["images"], done["epochs"]) == (0.25, 250, 1000, 2)
    told = ("flops", "params", "activations", "resolution", "total_s", "images_per_s", "classes", "metric", "seed")
    assert [done[name] for name in told] == [370_000_000, 3_000_000, None, 32, 12.5, 600.0, 10, "top1", 0]


@pytest.mark.parametrize("slow", [False, True])
def test_results_are_read_in_order_whatever_their_number(tmp_path, monkeypatch, slow):
    """As many rows as a row has values, too; and by several threads where files are slow."""
    monkeypatch.setattr(scans, "FILES_AT_ONCE", 2 if slow else 500)
    monkeypatch.setattr(scans, "SLOW_FILE_S", 0.0 if slow else 1000.0)
    results = [make_result(make_task(f"anynetx-500/{i}", "a"), i) for i in range(len(columns()))]
    study = write_study(tmp_path / "s", results)
    (study.room("results") / "0.json").write_text("{}")
    found = scan(study)
    assert found.frame["id"].to_list() == sorted(result.id for result in results) and len(found.problems) == 1
    assert dict(found.frame.schema) == columns()
    assert {row["architecture"]: row["wrong"] for row in found.frame.to_dicts()} == {
        result.task.architecture: i for i, result in enumerate(results)
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "Invalid JSON"),
        ("[1, 2]", "no result"),
        ("{}", "Field required"),
        ('{"version": 1, "loss": NaN}', "no result"),
        ("\x00" * 100, "Invalid JSON"),
    ],
)
def test_a_file_that_is_no_result_is_named(tmp_path, content, words):
    study = write_study(tmp_path / "s", [make_result(make_task("anynetx-500/0", "a"), 1)])
    (study.room("results") / "odd name.json").write_text(content)
    found = scan(study)
    assert len(found.frame) == 1
    (problem,) = found.problems
    assert "odd name.json" in problem and words in problem


def test_a_copy_of_a_result_does_not_count_twice(tmp_path):
    task = make_task("anynetx-500/0", "a")
    study = write_study(tmp_path / "s", [make_result(task, 1)])
    study.result_path("copy").write_bytes(study.result_path(task.id).read_bytes())
    found = scan(study)
    assert len(found.frame) == 1 and "copy under another name" in found.problems[0]


def test_a_folder_named_like_a_result_and_an_empty_study(tmp_path):
    study = write_study(tmp_path / "s", [])
    study.result_path("folder").mkdir()
    found = scan(study)
    assert found.frame.is_empty() and "cannot be read" in found.problems[0]
    with pytest.raises(UsageError, match="has no tasks"):
        study_measurements(study)


def test_architectures_come_with_their_configuration(tmp_path):
    names = ["anynetx-500/0", "torchvision/alexnet", "gone/9"]
    study = write_study(tmp_path / "s", [make_result(make_task(name, "a"), 10) for name in names])
    attributes = study_measurements(study).attributes
    assert {"flops", "params", "depth", "width", "d1", "g4"} <= set(attributes.columns)
    assert attributes["depth"].is_null().to_list() == [False, True, True]


def test_two_recipes_on_one_dataset_are_two_columns(tmp_path):
    other = make_task("anynetx-500/0", "a").model_copy(update={"recipe": Recipe(epochs=3)})
    study = write_study(tmp_path / "s", [make_result(make_task("anynetx-500/0", "a"), 10), make_result(other, 20)])
    names = study_measurements(study).datasets
    assert len(names) == 2 and all(name.startswith("a[quick:") for name in names)


def test_a_task_without_result_is_missing_and_not_forgotten(tmp_path, capsys):
    tasks = [make_task(f"anynetx-500/{i}", "a") for i in range(6)]
    study = write_study(tmp_path / "s", [make_result(t, 10 + i) for i, t in enumerate(tasks[:4])], tasks[4:])
    assert report.main([str(study.path), "--resamples", "100"]) == 0
    assert "2 missing" in capsys.readouterr().out
    coverage = pl.read_csv(study.path / "report/tables/coverage.csv").row(0, named=True)
    assert (coverage["paired"], coverage["of"], coverage["missing"]) == (4, 6, 2)
