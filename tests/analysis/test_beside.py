"""A study with others' values beside it, and its own exports read again."""

from pathlib import Path

import polars as pl
import pytest

from tests.report.studies import make_result, make_task, write_study
from toolkit import report
from toolkit.analysis.beside import with_others
from toolkit.analysis.sources import load
from toolkit.analysis.table_source import Reading
from toolkit.errors import UsageError
from toolkit.references import RANKINGS, ranking_csv

NETS = [
    *(f"torchvision/{name}" for name in ("resnet18", "resnet50", "alexnet")),
    "timm/resnet18", "torchvision/vgg16", "anynetx-500/3",
]  # fmt: skip


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(
        tmp_path / "mine", [make_result(make_task(net, "birds"), 100 + 20 * i) for i, net in enumerate(NETS)]
    ).path


@pytest.mark.parametrize("name", RANKINGS)
def test_a_shipped_ranking_is_percent_of_known_models(name: str) -> None:
    table = pl.read_csv(ranking_csv(name))
    assert table["architecture"].is_unique().all() and table["accuracy"].is_between(20, 95).all()
    assert table["architecture"].str.starts_with(name.partition("@")[2] + "/").all()


def test_published_accuracies_stand_beside_as_errors_and_are_the_reference(study: Path) -> None:
    data = with_others(load([str(study)])[0], ["imagenet@torchvision"], Reading())
    assert data.datasets == ["birds", "imagenet@torchvision"]
    row = data.wide.filter(pl.col("architecture") == "torchvision/resnet18").row(0, named=True)
    assert row["imagenet@torchvision"] == pytest.approx(100 - 69.758)
    assert "has 4 of 6 architectures; not: timm/resnet18, anynetx-500/3" in data.problems[-1]


def test_the_report_says_what_it_was_set_beside(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(study), "--with", "imagenet@torchvision", "--resamples", "100", "--json"]) == 0
    assert '"reference": "imagenet@torchvision"' in capsys.readouterr().out


def test_a_table_is_set_beside_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.csv").write_text("model,birds\nresnet18,30\nresnet50,20\nalexnet,50\nvgg16,40\n")
    call = [str(tmp_path / "mine.csv"), "--error", "--with", "imagenet@torchvision", "--resamples", "100"]
    assert report.main(call) == 0
    assert "imagenet@torchvision" in capsys.readouterr().out


def test_a_file_is_matched_by_whole_names_or_by_last_parts_that_are_unique(study: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("model,acc\nresnet50,80\nresnet18,70\nalexnet,55\n")
    data = with_others(load([str(study)])[0], [str(tmp_path / "other.csv")], Reading())
    values = dict(data.wide.select("architecture", data.datasets[-1]).iter_rows())
    assert (values["torchvision/resnet50"], values["torchvision/resnet18"]) == (20, None)


@pytest.mark.parametrize(
    ("other", "words"), [("imagenet@tim", "did you mean imagenet@timm"), ("x.csv", "unknown table")]
)
def test_what_is_no_table_is_one_line(study: Path, other: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        with_others(load([str(study)])[0], [other], Reading())


def test_nets_that_nobody_else_has_are_refused(study: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("model,acc\nnobody,80\n")
    with pytest.raises(UsageError, match="none of its architectures"):
        with_others(load([str(study)])[0], [str(tmp_path / "other.csv")], Reading())


def test_the_exported_runs_are_read_again(study: Path, tmp_path: Path) -> None:
    report.main([str(study), "--out", str(tmp_path / "out"), "--resamples", "100"])
    again = load([str(tmp_path / "out/runs.csv")])[0]
    assert again.wide.equals(load([str(study)])[0].wide) and again.quantity == "error"


@pytest.mark.parametrize(
    ("table", "unit"),
    [("model,acc\nresnet50,8\nresnet18,7\n", "none"), ("model,loss\nresnet50,180\nresnet18,170\n", None)],
)
def test_values_that_cannot_be_compared_are_refused(study: Path, tmp_path: Path, table: str, unit: str | None) -> None:
    (tmp_path / "other.csv").write_text(table)
    with pytest.raises(UsageError, match="cannot be compared"):
        with_others(load([str(study)])[0], [str(tmp_path / "other.csv")], Reading(unit=unit))


def test_accuracies_without_a_unit_are_no_errors(tmp_path: Path) -> None:
    """100 minus a score of no unit would have been an error out of nothing."""
    (tmp_path / "mine.csv").write_text("model,birds\na,1\nb,2\nc,3\nd,4\n")
    (tmp_path / "other.csv").write_text("model,acc\na,1\nb,2\nc,3\nd,4\n")
    mine = load([str(tmp_path / "mine.csv")], Reading("error", "none"))[0]
    with pytest.raises(UsageError, match="cannot be compared"):
        with_others(mine, [str(tmp_path / "other.csv")], Reading(unit="none"))
