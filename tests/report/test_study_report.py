"""A study's report, from its result files to what is printed and written."""

import json

import polars as pl
import pytest

from tests.report.studies import make_result, make_task, write_study
from toolkit import report


@pytest.fixture
def study(tmp_path):
    """Two datasets that agree but for noise, one failed task, one missing, one broken and one foreign file."""
    results = [
        make_result(make_task(f"anynetx-500/{i}", dataset), 100 + 7 * i + (i * step) % 11)
        for i in range(20)
        for dataset, step in (("fine", 3), ("large", 5))
    ]
    results.append(make_result(make_task("torchvision/alexnet", "fine"), None, status="failed"))
    made = write_study(tmp_path / "a 'study'\nhere", results, [make_task("torchvision/alexnet", "large")])
    (made.room("results") / "broken.json").write_text('{"id": ')
    (made.room("results") / "foreign.json").write_text('{"name": "somebody else"}')
    return made


def test_prints_coverage_ranking_and_pairs(study, capsys):
    assert report.main([str(study.path), "--resamples", "300"]) == 0
    out, err = capsys.readouterr()
    assert "1 missing, 1 failed, 2 skipped" in out
    assert "The ranking on fine transfers to large." in out and "large 0.9" in out and "n = 20" in out
    assert "anynetx-500/0" in out
    assert max(map(len, out.split("tables:")[0].splitlines())) <= 100
    trained = "Trained by recipe quick: 2 epochs at 224 pixels, batch 128, seed 0; data: fine (hfine), large (hlarge)"
    assert trained in " ".join(out.split())
    assert "broken.json" in err and "foreign.json" in err


def test_writes_figure_and_tables_and_says_where(study, capsys):
    report.main([str(study.path), "--resamples", "100"])
    out = capsys.readouterr().out
    for name in ("figures/scatter.png", "figures/scatter.svg", "tables", "report.json"):
        assert (study.path / "report" / name).exists()
        assert name in out
    written = pl.read_csv(study.path / "report/tables/pairs.csv")
    assert written["n"].to_list() == [20]


def test_json_is_one_document(study, capsys):
    report.main([str(study.path), "--resamples", "100", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["settings"]["resamples"] == 100
    assert len(document["conditions"]) == 1
    assert document["tables"]["coverage"]["rows"][0]["failed"] == 1
    assert not (study.path / "report").exists()


@pytest.mark.parametrize(("datasets", "status"), [(["fine"], "missing"), (["fine", "large"], "diverged")])
def test_a_study_without_a_value_is_told_so(tmp_path, capsys, datasets, status):
    tasks = [make_task(f"anynetx-500/{i}", dataset) for i in range(2) for dataset in datasets]
    results = [] if status == "missing" else [make_result(task, None, status=status) for task in tasks]
    made = write_study(tmp_path / "none", results, tasks if status == "missing" else [])
    assert report.main([str(made.path), "--resamples", "100"]) == 0
    assert "Best of each dataset" not in capsys.readouterr().out
    assert (made.path / "report" / "index.html").stat().st_size
