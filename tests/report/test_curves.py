"""Learning curves for other tools."""

import csv
import struct
import subprocess
import sys

import pytest

from tests.report.studies import make_result, make_task, write_study
from toolkit.curves import main
from toolkit.errors import ToolkitError, UsageError


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


def test_a_study_without_results_has_no_curves(tmp_path):
    write_study(tmp_path / "empty", [], [make_task("timm/lcnet_050", "a")])
    with pytest.raises(ToolkitError, match="no run of study"):
        main([str(tmp_path / "empty"), "--out", str(tmp_path / "x.csv")])
    assert not (tmp_path / "x.csv").exists()


def test_nothing_is_written_for_others_unless_asked():
    """The verb that trains and the one that reports do not even load a tracker."""
    verbs = "toolkit.launch, toolkit.report, toolkit.curves"
    code = f"import sys, {verbs}; print([name for name in sys.modules if 'ensorboard' in name])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
