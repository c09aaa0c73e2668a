import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.executors.conftest import wait_for
from toolkit import plan

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published() -> dict:
    import contextlib
    import io

    printed = io.StringIO()
    goals = ["verdict", "verdict=0.5", "width=0.4"]
    with contextlib.redirect_stdout(printed):
        assert plan.main(["replay", "tuggener2022", "--replays", "60", "--json", "--until", *goals]) == 0
    return {name: t["rows"] for name, t in orjson.loads(printed.getvalue()).items()}


def test_the_published_verdicts_are_those_of_its_report(published: dict) -> None:
    verdicts = {row["target"]: row["full_verdict"] for row in published["replay-targets"]}
    assert {name for name, verdict in verdicts.items() if verdict == "transfers"} == {
        "imagenet-100", "imagenet-10", "insects"
    }  # fmt: skip
    assert {name for name, verdict in verdicts.items() if verdict == "reversed"} == {"powerline", "natural", "cifar10"}
    assert {name for name, verdict in verdicts.items() if verdict == "open"} == {
        "mlc2008", "ham10000", "cifar100", "concrete"
    }  # fmt: skip


def test_a_stopped_study_says_nothing_that_the_full_one_contradicts(published: dict) -> None:
    for row in published["replay"]:
        assert row["false"] == 0
        assert row["overstated"] <= 0.03
        assert row["same"] + row["withheld"] + row["overstated"] + row["false"] == pytest.approx(1)
    thrifty = published["replay"][1]
    assert thrifty["fewer"] > 4
    assert published["replay"][0]["same"] > 0.9


def test_plain_verdicts_fall_early_and_intervals_hold(published: dict) -> None:
    nets = {row["target"]: row["nets"] for row in published["replay-targets"]}
    assert nets["insects"] < 32 < nets["powerline"] < 100 < nets["cifar10"]
    every = published["replay"][0]
    assert every["covered_always"] > 0.93 > 0.85 > every["covered_naive"]
    assert published["replay-cost"][0]["hours"] < published["replay-cost"][0]["hours_in_full"]


def test_a_killed_replay_leaves_no_process_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "toolkit.plan", "replay", "tuggener2022", "--replays", "1000000"]
    replay = subprocess.Popen(command, start_new_session=True, cwd=tmp_path)
    wait_for(lambda: len(of_session(replay.pid)) > 2, 60, "workers")
    replay.kill()
    replay.wait()
    wait_for(lambda: not of_session(replay.pid), 60, "the end of all")


def of_session(leader: int) -> list[str]:
    """The processes of a session; ended ones that nobody has waited for are none."""
    listed = subprocess.run(["ps", "-o", "stat=", "-s", str(leader)], capture_output=True, text=True).stdout.split()
    return [state for state in listed if not state.startswith("Z")]
