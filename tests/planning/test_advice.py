"""A report says how many nets more would settle what is open."""

from pathlib import Path

import pytest

from toolkit import report

TABLE = Path(__file__).parents[1] / "analysis" / "tables" / "base.csv"


def test_an_open_verdict_comes_with_what_would_settle_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(TABLE), "--accuracy", "--resamples", "200"]) == 0
    said = capsys.readouterr().out
    assert "Open: cifar10: 59 more nets would settle it." in said
    assert "pets: " not in said.partition("Coverage")[0].partition("Open:")[2]
