"""Results of a stranger's, handed to what was written last: curves, efficiency, the index of tasks."""

import csv
import json
import os
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.render.test_escape import hostile
from tests.study.strategies import result
from tests.study.strategies import task as make_task
from toolkit import curves, status
from toolkit.errors import ToolkitError
from toolkit.launching.efficiency import Efficiency
from toolkit.study import Study
from toolkit.study.usage import Usage


@pytest.fixture
def study(tmp_path: Path) -> Study:
    study = Study.create(tmp_path / "study")
    study.declare([make_task()])
    return study


def planted(study: Study, document: object, name: str = "0123456789abcdef") -> None:
    study.result_path(name).write_bytes(orjson.dumps(document))


def document(**fields: object) -> dict:
    """A result with a task of these fields."""
    whole = json.loads(result(make_task()).model_dump_json())
    return {**whole, "task": {**whole["task"], **fields}}


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "..", "."])
def test_event_files_stay_in_their_folder(study: Study, tmp_path: Path, name: str) -> None:
    planted(study, document(dataset=name, architecture=name) | {"id": name})
    before = {path for path in tmp_path.rglob("*") if study.path not in path.parents}
    out = tmp_path / "deep" / "down" / "curves"
    curves.main([str(study.path), "--out", str(out)])
    made = {path for path in tmp_path.rglob("*") if study.path not in path.parents} - before - {*out.parents, out}
    assert [path for path in made if path.is_file()] and all(out in path.parents for path in made)
    assert not Path("/tmp/outside").exists()


def test_curves_have_no_formula_in_a_cell(study: Study, tmp_path: Path) -> None:
    planted(study, document(dataset="=cmd|'/c calc'!A0", architecture="@x\n=1+1", recipe_name="-1+1\x1b[31m"))
    curves.main([str(study.path), "--out", str(tmp_path / "c.csv")])
    (row,) = csv.DictReader((tmp_path / "c.csv").open())
    assert all(row[key].startswith("'") for key in ("dataset", "architecture", "recipe"))
    assert "\x1b" not in row["recipe"]


@pytest.mark.parametrize("number", [-1, 10**40])
def test_numbers_that_no_event_holds_are_one_line(study: Study, tmp_path: Path, number: int) -> None:
    whole = json.dumps(document()).replace('"epoch": 1', f'"epoch": {number}')
    study.result_path("0123456789abcdef").write_text(whole)
    with pytest.raises(ToolkitError):
        curves.main([str(study.path), "--out", str(tmp_path / "curves")])


NUMBERS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
USAGES = st.fixed_dictionaries(dict.fromkeys(Usage.model_fields, NUMBERS))


@settings(max_examples=30)
@given(usage=USAGES, total=NUMBERS, pack=NUMBERS, name=hostile | NUMBERS)
def test_any_usage_is_counted_or_left_out(tmp_path_factory, usage, total, pack, name) -> None:
    study = Study.create(tmp_path_factory.mktemp("study") / "s")
    whole = document(dataset=name) | {"usage": usage}
    whole["timing"], whole["provenance"] = {"total_s": total}, {"pack": pack}
    study.result_path("0123456789abcdef").write_text(json.dumps(whole))
    found = Efficiency.of(study)
    assert len(found.rows) + found.silent == 1


def test_a_result_without_end_is_not_read_for_what_it_used(study: Study, capsys) -> None:
    with study.result_path("0123456789abcdef").open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)
    assert status.main([str(study.path), "--efficiency"]) == 0
    assert "1 results do not tell" in capsys.readouterr().out


def test_a_task_without_end_is_not_looked_up(study: Study) -> None:
    """Its index says where it begins, and from there on the file is a terabyte of nothing."""
    (study.room("tasks") / "0001-x.index").write_text(f"{'f' * 16} {0:012d}\n")
    with (study.room("tasks") / "0001-x.jsonl").open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)
    with pytest.raises(ToolkitError, match="over the limit"):
        study.task("f" * 16)
