"""A report says how many nets more would settle what is open."""

from pathlib import Path

import pytest

from toolkit import report
from toolkit.errors import ToolkitError
from toolkit.planning.request import WaveRequest

TABLE = Path(__file__).parents[1] / "analysis" / "tables" / "base.csv"


def test_an_open_verdict_comes_with_what_would_settle_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(TABLE), "--accuracy", "--resamples", "200"]) == 0
    said = capsys.readouterr().out
    assert "To settle what is open: cifar10: 59 more nets would settle it." in said
    assert "pets: " not in said.partition("Coverage")[0].partition("To settle")[2]


def test_a_controllers_request_that_is_gone_or_damaged_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ToolkitError, match="launch again"):
        WaveRequest.read(tmp_path / "gone.json")
    (tmp_path / "damaged.json").write_text("{}")
    (tmp_path / "damaged.json").chmod(0o600)
    with pytest.raises(ToolkitError, match="is no request"):
        WaveRequest.read(tmp_path / "damaged.json")


def test_the_reference_is_named_where_a_targets_name_holds_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"n{i},{i},{20 - i},{19 - i + i % 3}\n" for i in range(16))
    (tmp_path / "t.csv").write_text("model,imagenet,imagenet-v2,imagenet-r\n" + rows)
    assert report.main([str(tmp_path / "t.csv"), "--error", "--unit", "none", "--resamples", "200"]) == 0
    assert capsys.readouterr().out.startswith("The ranking on imagenet transfers to 0 of 2 targets, reversed on 2.\n")
