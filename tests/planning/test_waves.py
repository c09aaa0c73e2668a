"""Studies that stop by themselves, with real training."""

import os
import signal
from pathlib import Path

import orjson
import pytest

from slurm.cluster import Cluster
from tests.executors.conftest import errors, launch, start, training, verb, wait_for
from toolkit.planning.controller_job import controllers
from toolkit.planning.stopping import StoppingRule, progress, rule_path
from toolkit.study import Study

pytestmark = pytest.mark.slow

WHAT = ["--array", "0-7", "--dataset", "tiny", "other", "--until", "verdict=0.3", "--wave", 4, "--set", "epochs=2"]


@pytest.fixture(scope="session")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    study = tmp_path_factory.mktemp("runs") / "undisturbed"
    return study, launch(study, data, *WHAT, "--executor", "local", "--jobs", 2)


def frozen(study: Path) -> StoppingRule:
    return StoppingRule.read(rule_path(Study(study)))


def test_a_study_trains_in_a_frozen_order_until_it_is_settled(undisturbed: tuple[Path, dict]) -> None:
    study, document = undisturbed
    rule = frozen(study)
    assert document["settled"] and document["exit"] == 0
    assert (rule.reference, rule.targets, rule.looks[0], rule.looks[-1]) == ("tiny", ("other",), 4, 8)
    trained = {task.architecture for task in Study(study).tasks().values()}
    assert trained == set(rule.order[: document["nets"]["tiny"]])
    assert document["nets"]["other"] in rule.looks
    assert len(errors(study)) == 2 * document["nets"]["other"]
    (target,) = document["targets"]
    assert target["why"]
    assert "looked at after 4, 6, 8 nets" in document["how"]


def test_the_same_call_on_a_settled_study_trains_nothing(undisturbed: tuple[Path, dict], data: Path) -> None:
    study, document = undisturbed
    before = errors(study)
    again = launch(study, data, *WHAT, "--executor", "local")
    assert errors(study) == before
    assert again["targets"] == document["targets"]
    shown = verb("toolkit.plan", "looks", study)
    assert "other" in shown.stdout and "looked at" in shown.stdout


def test_an_interrupted_run_comes_to_the_same_end(undisturbed: tuple[Path, dict], data: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    call = ["--study", study, "--data", data, "--recipe", "smoke", *WHAT, "--executor", "local", "--jobs", 2]
    launcher = start("toolkit.launch", *call)
    wait_for(lambda: rule_path(Study(study)).exists() and len(errors(study)) >= 2 and training(study), 120, "training")
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(60) == 130
    launcher.communicate()
    middle = len(errors(study))
    plain = verb("toolkit.launch", "--study", study, "--data", data, "--executor", "local", "--jobs", 2)
    assert plain.returncode == 0, plain.stderr  # by hand: what the wave declared, no more
    assert middle < len(errors(study)) <= len(errors(undisturbed[0]))
    document = launch(study, data, *WHAT, "--executor", "local", "--jobs", 2)
    assert errors(study) == errors(undisturbed[0])
    assert document["targets"] == undisturbed[1]["targets"]


def test_a_frozen_rule_does_not_change(undisturbed: tuple[Path, dict], data: Path) -> None:
    study = undisturbed[0]
    call = ["--study", study, "--data", data, "--recipe", "smoke", "--executor", "local"]
    other_goal = [x if x != "verdict=0.3" else "width=0.5" for x in WHAT]
    done = verb("toolkit.launch", *call, *other_goal)
    assert done.returncode == 2
    assert "froze the rule" in done.stderr and "goal verdict=0.3" in done.stderr
    done = verb("toolkit.launch", *call, *WHAT, "--seeds", "1")
    assert done.returncode == 2
    assert "none of this call" in done.stderr


def test_limits_are_kept(data: Path, tmp_path: Path) -> None:
    what = ["--array", "0-11", "--dataset", "tiny", "other", "--wave", 4, "--until", "width=0.01", "--max-nets", 6]
    planned = launch(tmp_path / "study", data, *what, "--executor", "local", "--dry-run")
    assert (planned["looks"], planned["to_run"]) == ([4, 6], 8)
    os.environ["TOOLKIT_RATE"] = "slow=1"
    try:
        document = launch(tmp_path / "study", data, *what, "--executor", "local", "--max-hours", 1)
    finally:
        del os.environ["TOOLKIT_RATE"]
    assert document["waiting_for"] == "the next wave exceeds 1 hours"
    assert not errors(tmp_path / "study")
    one = verb("toolkit.launch", "--study", tmp_path / "one", "--data", data, "--array", "0-3", "--dataset", "tiny",
               "--until", "verdict", "--executor", "local")  # fmt: skip
    assert one.returncode == 2
    assert "two or more" in one.stderr


@pytest.mark.cluster
def test_waves_on_slurm_follow_each_other_and_survive_what_happens(
    cluster: Cluster,
    undisturbed: tuple[Path, dict],
    data: Path,
    tmp_path: Path,
) -> None:
    study, profile = tmp_path / "it's a study", tmp_path / "profile.toml"
    profile.write_text("cpus = 1\ntime_min = 30\ngrace_s = 10\n")
    how = ["--executor", "slurm", "--profile", profile, "--per-job", 2]
    first = launch(study, data, *WHAT, *how)
    assert first["waiting_for"]
    (controller,) = controllers(Study(study))
    wait_for(lambda: len(errors(study)) >= 2, 120, "a result")
    again = launch(study, data, *WHAT, *how)  # by hand, while the wave runs: nothing twice, one controller
    assert again["to_run"] == 0
    assert len(controllers(Study(study))) == 1
    cluster.slurm("scontrol", "requeue", controller.job)  # as preemption would
    wait_for(lambda: len(controllers(Study(study))) >= 2, 240, "the second controller")
    wait_for(lambda: not cluster.slurm("squeue", "--noheader").stdout.strip(), 400, "an empty queue", every=1)
    assert errors(study) == errors(undisturbed[0])
    rule = frozen(study)
    found = progress(Study(study), rule)
    assert found.settled
    assert rule == frozen(undisturbed[0])
    log = "".join(path.read_text() for path in (study / "logs").glob(f"{controllers(Study(study))[-1].job}_*log.out"))
    assert orjson.loads(log[log.index("{") : log.rindex("}") + 1])["settled"]


def test_the_report_says_that_the_study_was_looked_at(undisturbed: tuple[Path, dict]) -> None:
    study, _ = undisturbed
    shown = verb("toolkit.report", study, "--resamples", 100, "--out", study / "report")
    assert "This study stopped by itself (until verdict=0.3)" in shown.stdout.replace("\n", " ")
    assert "looked at after 4, 6, 8 nets" in shown.stdout.replace("\n", " ")
