import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.executors.conftest import environment, errors, launch, start, status, training, verb, wait_for
from tests.study.strategies import result, task
from toolkit.render.states import PoolDisplay
from toolkit.study import Study
from toolkit.study.submission import process_lives

LONG = ["--set", "epochs=2000"]  # trains until it is stopped


def test_a_pool_trains_what_is_unfinished_and_no_more(data: Path, tmp_path: Path) -> None:
    study = tmp_path / "a study"
    first = launch(study, data, "--array", "0-2", "--dataset", "tiny", "--executor", "local", "--jobs", 2)
    assert first["to_run"] == 3
    assert sum(first["states"].values()) == 3 == len(errors(study))
    assert set(first["states"]) <= {"done", "diverged"}
    assert first["exit"] == 0
    before = errors(study)
    second = launch(study, data, "--array", "0-2", "--dataset", "tiny", "--executor", "local")
    assert (second["to_run"], second["exit"]) == (0, 0)
    third = launch(study, data, "--array", "3", "--dataset", "tiny", "--executor", "debug")
    assert third["to_run"] == 1
    assert before.items() <= errors(study).items()
    shown = verb("toolkit.status", study, "--watch", "--failed").stdout
    assert "tiny" in shown
    assert all(reason["id"] in shown and reason["reason"][:40] in shown for reason in status(study)["trouble"])
    retried = launch(study, data, "--retry", "all", "--dry-run", "--executor", "local")
    assert retried["to_run"] == status(study)["states"].get("diverged", 0)


def test_a_killed_worker_loses_its_task_alone(data: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    call = ["--array", "0-1", "--dataset", "tiny", "--recipe", "smoke", "--executor", "local", "--jobs", "1", "--json"]
    launcher = start("toolkit.launch", *call, *LONG, "--data", data, "--study", study)
    wait_for(lambda: training(study), 90, "a task that trains")
    victim = training(study)[0]
    os.kill(Study(study).progress(victim).pid, signal.SIGKILL)
    wait_for(lambda: status(study)["states"] == {"running": 1, "lost": 1}, 60, "the next task in a fresh worker")
    (trouble,) = status(study)["trouble"]
    assert (trouble["id"], trouble["state"]) == (victim, "lost")
    (other,) = Study(study).labels().keys() - {victim}
    shown = verb("toolkit.status", study, "--failed").stdout
    assert victim in shown and other not in shown
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(60) == 130
    launcher.communicate()
    states = status(study)["states"]
    assert states == {"lost": 1, "preempted": 1}
    assert launch(study, data, "--dry-run", "--executor", "local")["to_run"] == 2


def test_a_killed_pool_leaves_no_worker_behind(data: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    call = ["--array", "0-2", "--dataset", "tiny", "--recipe", "smoke", "--executor", "local", "--jobs", "2", *LONG]
    launcher = start("toolkit.launch", *call, "--data", data, "--study", study)
    wait_for(lambda: len(training(study)) == 2, 90, "two tasks that train")
    workers = [Study(study).progress(task).pid for task in training(study)]
    launcher.kill()
    launcher.communicate()
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), 30, "the end of the workers")
    assert status(study)["states"] == {"preempted": 2, "lost": 1}
    assert sum("stopped by the end of its pool" in log.read_text() for log in (study / "logs").iterdir()) == 2
    assert launch(study, data, "--dry-run", "--executor", "local")["to_run"] == 3


def interrupted(number: signal.Signals, study: Path, data: Path) -> str:
    """The one task of a local run that such a signal ends once it has learnt something."""
    options = ["--data", data, "--study", study, "--dataset", "tiny", "--recipe", "smoke", "--executor", "local"]
    launcher = start("toolkit.launch", *options, "--array", "0", "--set", "epochs=30")
    wait_for(lambda: training(study), 90, "a task that trains")
    (task,) = training(study)
    worker = Study(study).progress(task).pid
    launcher.send_signal(number)
    assert launcher.wait(60) == 130
    assert "interrupted: 0 done, 1 go on with the same command" in launcher.communicate()[1]
    assert not Path(f"/proc/{worker}").exists()
    return task


def test_a_run_is_interrupted_by_sigterm(data: Path, tmp_path: Path) -> None:
    interrupted(signal.SIGTERM, tmp_path / "study", data)
    assert status(tmp_path / "study")["states"] == {"preempted": 1}


def test_a_run_whose_terminal_is_closed_saves_what_it_has(data: Path, tmp_path: Path) -> None:
    """The launcher is told by SIGHUP, and can write to nobody any more."""
    study, (ours, its) = tmp_path / "study", os.openpty()
    options = ["--data", data, "--study", study, "--dataset", "tiny", "--recipe", "smoke", "--executor", "local"]
    call = ["setsid", "--ctty", sys.executable, "-m", "toolkit.launch", *options, "--array", "0-1", "--jobs", 1, *LONG]
    launcher = subprocess.Popen([*map(str, call)], env=environment(), stdin=its, stdout=its, stderr=its)
    os.close(its)
    os.set_blocking(ours, False)

    def shown_and_trains() -> bool:
        with contextlib.suppress(BlockingIOError):
            os.read(ours, 1 << 16)
        return bool(training(study))

    wait_for(shown_and_trains, 90, "a task that trains")
    worker = Study(study).progress(training(study)[0]).pid
    os.close(ours)
    assert launcher.wait(60) == 130
    assert not process_lives(worker)
    assert status(study)["states"] == {"preempted": 1, "waiting": 1}


def test_an_interrupted_run_keeps_what_is_finished_and_goes_on_later(data: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    launch(study, data, "--array", "7", "--dataset", "tiny", "--executor", "debug")
    finished = errors(study)
    task = interrupted(signal.SIGINT, study, data)
    assert errors(study) == finished
    assert status(study)["states"] == {next(iter(finished.values()))[0]: 1, "preempted": 1}
    assert verb("toolkit.launch", "--study", study, "--data", data, "--executor", "local").returncode in (0, 1)
    result = Study(study).result(task)
    assert len(result.evaluations) == 30
    assert result.provenance.restarts == 1


def test_two_launchers_do_not_take_the_same_task(data: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    options = ["--data", data, "--study", study, "--dataset", "tiny", "--recipe", "smoke", "--executor", "local"]
    launcher = start("toolkit.launch", *options, "--array", "0-3", *LONG, "--jobs", "1")
    wait_for(lambda: (study / "submissions").is_dir() and list((study / "submissions").glob("*.json")), 30, "a launch")
    assert launch(study, data, "--executor", "local")["to_run"] == 0
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(60) == 130
    assert "interrupted: 0 done, 4 go on with the same command" in launcher.communicate()[1]
    assert status(study)["states"].keys() <= {"preempted", "waiting"}


def test_a_display_that_cannot_be_written_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.create(tmp_path / "study")
    study.declare([task()])
    with contextlib.suppress(OSError), Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr("sys.stderr", full)
        with PoolDisplay(study, 1) as display:
            result(task()).write(study.result_path(task().id))
            display.update([])
        shown = display.finished
    assert shown == {task().id}
