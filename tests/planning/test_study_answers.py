"""What a study's results answer without training: what settles it, what its proxies cost, where its looks stand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.studies import make_result, make_task, write_study
from toolkit.analysis.roles import roles
from toolkit.analysis.settings import Settings
from toolkit.analysis.table_source import Reading, table_measurements
from toolkit.plan import main as plan
from toolkit.planning.goal import Goal
from toolkit.planning.halving import BIASED, halving_rule
from toolkit.planning.replay import replay_tables, replays
from toolkit.planning.stopping import rule_path, stopping_rule
from toolkit.report import main as report
from toolkit.study import Study

NETS = 24
HOURS = 12.5 / 3600
"""Of a net, as `make_result` times it."""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Nets whose ranking on imagenet goes on to pets in part, to its own ten classes wholly, to noise not at all."""
    rng, results = np.random.default_rng(0), []
    noise = {"imagenet": 0.0, "imagenet-10": 10.0, "pets": 60.0, "noise": 1e4}
    for net in range(NETS):
        for dataset, spread in noise.items():
            wrong = np.clip(200 + 10 * net + spread * rng.standard_normal(), 20, 980)
            results.append(make_result(make_task(f"anynetx-500/{net}", dataset), int(wrong)))
    return write_study(tmp_path / "study", results)


def told(capsys: pytest.CaptureFixture[str], *call: str) -> dict[str, Any]:
    """What a verb prints as JSON."""
    verb = report if call[0] == "report" else plan
    assert verb([*call[call[0] == "report" :], "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_report_says_what_would_settle_it_in_hours_of_its_own(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    document = told(capsys, "report", str(study.path), "--resamples", "200")
    lines = [line for line in document["finding"] if line.startswith("To settle what is open: ")]
    rows = {row["target"]: row for row in document["tables"]["nets"]["rows"]}
    still = [name for name, row in rows.items() if row["verdict"] == "open"]
    assert still and len(lines) == 1 and lines[0].endswith(" (as its results were timed).")
    assert all(f"{name}: " in lines[0] for name in still)
    for row in rows.values():
        assert row["width_hours"] == pytest.approx(row["width_nets"] * HOURS)
        needed = row["verdict_nets"] and row["verdict_nets"] * row["seeds"] * HOURS
        assert row["verdict_hours"] == (needed and pytest.approx(needed))
    proxies = document["tables"]["proxies"]["rows"]
    assert {(row["target"], row["proxy"]) for row in proxies} == {
        (target, proxy) for target in ("pets", "noise") for proxy in ("imagenet", "imagenet-10")
    }
    assert all(row["hours"] == pytest.approx(NETS * HOURS) for row in proxies)
    assert all("stopped by itself" not in line for line in document["finding"])


def test_a_study_that_stopped_by_itself_says_so_first(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exception, match="launched with neither --until nor --halving"):
        plan(["looks", str(study.path)])
    tasks = study.tasks()
    rule = stopping_rule(tasks.values(), Goal("verdict", 0.3), 16, None)
    rule.freeze(study, tasks)
    document = told(capsys, "report", str(study.path), "--resamples", "200")
    first = document["finding"][0]
    assert first.startswith(f"This study stopped by itself (until {rule.goal}): its verdicts are those of the table")
    name = next(iter(document["tables"]))
    (looked,) = told(capsys, "looks", str(study.path)).values()
    assert [row["target"] for row in document["tables"][name]["rows"]] == list(rule.targets)
    assert looked["rows"] == document["tables"][name]["rows"]
    rule_path(study).unlink()


def test_a_halving_shows_its_nets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = [make_result(make_task(f"anynetx-500/{net}", "pets"), 100 + net) for net in range(8)]
    study = write_study(tmp_path / "study", results)
    halving_rule(study.tasks().values(), 2).freeze(study, study.tasks())
    (looked,) = told(capsys, "looks", str(study.path)).values()
    assert looked["rows"]


def test_a_question_in_hours_of_a_study(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    (table,) = told(capsys, "proxies", str(study.path)).values()
    assert "as its results were timed" in table["note"]
    assert all(row["hours"] == pytest.approx(NETS * HOURS) for row in table["rows"])


def test_a_halving_of_curves_says_what_it_is_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = [make_result(make_task(f"anynetx-500/{net}", "pets", epochs=3), 100 + net) for net in range(8)]
    study = write_study(tmp_path / "study", results)
    table = told(capsys, "epochs", str(study.path), "--best", "2")["halving"]
    assert "one of the 2 best" in table["note"] and table["note"].endswith(BIASED)
    assert [row["nets"] for row in table["rows"]] == [8]


def test_every_table_says_what_it_is_and_how_to_read_it(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Titles and notes are what a reader goes by: ``texts.json`` has them all."""
    results = [make_result(make_task(f"anynetx-500/{net}", "pets", epochs=3), 100 + net) for net in range(8)]
    curves = write_study(tmp_path / "curves", results)
    found = told(capsys, "nets", str(study.path)) | told(capsys, "proxies", str(study.path))
    found |= told(capsys, "epochs", str(curves.path), "--best", "2")
    halving_rule(curves.tasks().values(), 2).freeze(curves, curves.tasks())
    (found["rungs"],) = told(capsys, "looks", str(curves.path)).values()
    for goal in (Goal("verdict", 0.3), Goal("width", 0.5)):
        stopping_rule(study.tasks().values(), goal, 16, None).freeze(study, study.tasks())
        (found[f"looks until {goal}"],) = told(capsys, "looks", str(study.path)).values()
        rule_path(study).unlink()
    given = Settings(reference="imagenet")
    rows = "".join(f"net{i},{i},{i % 7 + i / 9}\n" for i in range(36))
    (tmp_path / "t.csv").write_text("model,imagenet,pets\n" + rows)
    data = table_measurements([tmp_path / "t.csv"], Reading(quantity="error"))
    tables = replay_tables(replays(data, roles(data, given), 2, 0, 1), [Goal("width", 0.5)], {}, "imagenet")
    found |= {table.name: {"title": table.title, "note": table.note} for table in tables}
    texts = {name: [table["title"], table["note"]] for name, table in found.items()}
    assert texts == json.loads((Path(__file__).parent / "texts.json").read_text())
