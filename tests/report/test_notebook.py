"""The notebook's three lines, as the tutorial shows them."""

import re
from pathlib import Path

import pytest

from tests.report.studies import make_result, make_task, write_study
from toolkit import notebook
from toolkit.errors import ToolkitError

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
NETS = ["timm/lcnet_050", "timm/lcnet_100", "timm/mobilenetv3_small_050", "timm/resnet18", "timm/resnet10t"]


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = [make_result(make_task(net, "emoji"), wrong=400 - 30 * i) for i, net in enumerate(NETS)]
    return write_study(tmp_path / "runs" / "emoji", results)


def test_the_tutorial_s_notebook_runs(study):
    [block] = re.findall(r"```python\n(from toolkit import notebook\n.*?)```", TUTORIAL.read_text(), re.DOTALL)
    cell: dict = {}
    exec(block, cell)
    assert cell["runs"].height == len(NETS) and set(cell["runs"]["status"]) == {"done"}
    report = cell["report"]
    assert report.figures["correlations"].axes and report.tables["ranking"].height
    assert any("imagenet@timm" in line for line in report.finding)
    assert report.finding[0].split()[0] in report._repr_html_()


def test_a_damaged_result_is_named(study):
    (study.room("results") / "0123456789abcdef.json").write_text("{}")
    with pytest.raises(ToolkitError, match=r"1 files are no results: .*0123456789abcdef\.json"):
        notebook.runs("emoji")
