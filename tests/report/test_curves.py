"""Learning curves for other tools."""

import csv
import os
import sqlite3
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.report.studies import make_result, make_task, write_study
from toolkit.curves import main
from toolkit.errors import ToolkitError, UsageError

EXTRAS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.fixture
def study(tmp_path):
    diverged = make_task("timm/lcnet_050", "b")
    results = [make_result(make_task("timm/lcnet_050", "a", epochs=3), wrong=400)]
    return write_study(tmp_path / "study", [*results, make_result(diverged, None, status="diverged")])


def test_the_csv_has_a_row_for_each_epoch_and_counts_who_has_none(study, tmp_path, capsys):
    assert main([str(study.path), "--out", str(tmp_path / "curves.csv")]) == 0
    rows = list(csv.DictReader((tmp_path / "curves.csv").open()))
    assert [(row["architecture"], row["epoch"], row["error"]) for row in rows] == [
        ("timm/lcnet_050", str(epoch), "0.4") for epoch in (1, 2, 3)
    ]
    assert "1 runs; 1 without an epoch" in capsys.readouterr().out


def test_tensorboard_reads_the_event_files(study, tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    assert main([str(study.path), "--out", str(tmp_path / "curves")]) == 0
    [file] = (tmp_path / "curves" / "a" / "timm-lcnet_050").glob("*/events*")
    content, events = file.read_bytes(), []
    while content:  # records of TensorFlow: length, its checksum, event, its checksum
        [length] = struct.unpack_from("<Q", content)
        events.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    drawn = [(value.tag, event.step, value.simple_value) for event in events for value in event.summary.value]
    assert [(step, round(value, 3)) for tag, step, value in drawn if tag == "error"] == [(1, 0.4), (2, 0.4), (3, 0.4)]
    with pytest.raises(UsageError, match="twice"):
        main([str(study.path), "--out", str(tmp_path / "curves")])


@pytest.mark.long
def test_mlflow_and_wandb_take_the_runs_in_and_nothing_is_sent(study, tmp_path):
    """Their libraries are installed for this test alone; both have a store of their own here."""
    others = tmp_path / "others"
    wanted = [line.partition(">")[0] for extra in ("mlflow", "wandb") for line in EXTRAS[extra]]
    uv = [Path(sys.executable).parent / "uv", "pip", "install", "--quiet", "--python", sys.executable]
    subprocess.run([*uv, "--target", others, *wanted], check=True)
    outs = {"mlflow": tmp_path / "curves.db", "wandb": tmp_path / "wandb-curves"}
    for to, out in outs.items():
        command = [sys.executable, "-m", "toolkit.curves", study.path, "--out", out, "--to", to]
        quiet = {**os.environ, "PYTHONPATH": f"{Path(__file__).parents[2]}:{others}"}
        subprocess.run(["unshare", "--net", *command], check=True, env=quiet)  # a network with nothing in it
    with sqlite3.connect(outs["mlflow"]) as store:
        drawn = store.execute("select step, value from metrics where key = 'error' order by step").fetchall()
    assert drawn == [(1, 0.4), (2, 0.4), (3, 0.4)]
    [run] = (outs["wandb"] / "wandb").glob("offline-run-*/*.wandb")
    assert study.finished() > {run.stem.removeprefix("run-")} and run.read_bytes().count(b"train_loss") == 0
    assert run.read_bytes().count(b"error") >= 3


def test_a_study_without_results_has_no_curves(tmp_path):
    write_study(tmp_path / "empty", [], [make_task("timm/lcnet_050", "a")])
    with pytest.raises(ToolkitError, match="no run of study"):
        main([str(tmp_path / "empty"), "--out", str(tmp_path / "x.csv")])
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize("to", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_library_is_named_with_the_extra_that_brings_it(study, tmp_path, monkeypatch, to):
    monkeypatch.setitem(sys.modules, {"tensorboard": "tensorboardX"}.get(to, to), None)
    with pytest.raises(UsageError, match=rf"pip install '\.\[{to}\]'"):
        main([str(study.path), "--out", str(tmp_path / "x"), "--to", to])
    assert not (tmp_path / "x").exists()


def test_nothing_is_written_for_others_unless_asked():
    """The verb that trains and the one that reports do not even load a tracker."""
    verbs = "toolkit.launch, toolkit.report, toolkit.curves"
    code = f"import sys, {verbs}; print([name for name in sys.modules if name in ('tensorboardX', 'mlflow', 'wandb')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
