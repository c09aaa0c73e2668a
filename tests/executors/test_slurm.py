import os
import signal
from functools import partial
from pathlib import Path

import orjson
import pytest

from slurm.cluster import Cluster
from tests.executors.conftest import errors, launch, start, status, training, verb, wait_for
from tests.study.strategies import result
from toolkit.study import Study
from toolkit.study.result import Failure
from toolkit.study.submission import process_lives, submissions

pytestmark = pytest.mark.cluster


def test_an_array_gives_the_errors_of_a_local_run(cluster: Cluster, data: Path, tmp_path: Path, profile: Path) -> None:
    what = ["--array", "0-9", "--models", "timm/mobilenetv3_small_050", "--dataset", "tiny", "other"]
    slurm, local = tmp_path / 'it\'s "slurm"', tmp_path / "local"
    submitted = launch(slurm, data, *what, "--executor", "slurm", "--profile", profile, "--per-job", 6)
    assert (submitted["to_run"], submitted["elements"], submitted["exit"]) == (22, 4, 0)
    assert status(slurm)["states"].keys() <= {"queued", "running", "done", "diverged"}
    assert launch(slurm, data, *what, "--executor", "slurm", "--profile", profile)["to_run"] == 0
    wait_for(lambda: not cluster.slurm("squeue", "--noheader").stdout, 240, "the end of the array")
    assert sum(status(slurm)["states"].values()) == 22 == len(errors(slurm)), status(slurm)
    launch(local, data, *what, "--executor", "local", "--jobs", 2)
    assert errors(slurm) == errors(local)  # bit for bit: the same program, one thread each
    result = Study(slurm).result(next(iter(errors(slurm))))
    assert result.provenance.job.startswith(submitted["jobs"][0])


def test_a_warned_task_saves_is_requeued_and_goes_on(
    cluster: Cluster, data: Path, tmp_path: Path, profile: Path
) -> None:
    study = tmp_path / "study"
    call = ["--array", "3", "--dataset", "tiny", "--set", "epochs=60", "--executor", "slurm", "--profile", profile]
    (job,) = launch(study, data, *call)["jobs"]
    wait_for(lambda: training(study), 90, "a task that trains")
    (task,) = training(study)
    cluster.slurm("scancel", "--signal=URG", f"{job}_0")
    wait_for(lambda: status(study)["states"] in ({"queued": 1}, {"running": 1}), 60, "the requeued job")
    wait_for(lambda: Study(study).result_path(task).exists(), 120, "the result")
    result = Study(study).result(task)
    assert len(result.evaluations) == 60
    assert result.provenance.restarts >= 1


def test_a_killed_element_is_lost_and_launched_again(
    cluster: Cluster, data: Path, tmp_path: Path, profile: Path
) -> None:
    study = tmp_path / "study"
    call = ["--array", "3", "--dataset", "tiny", "--set", "epochs=2000", "--executor", "slurm", "--profile", profile]
    launch(study, data, *call)
    wait_for(lambda: training(study), 90, "a task that trains")
    (task,) = training(study)
    beat = Study(study).progress(task)
    os.kill(beat.pid, signal.SIGKILL)
    wait_for(lambda: not process_lives(beat.pid), 30, "the end of the task")
    ahead = beat.updated + 600  # a clock that is off, and what else may lie in a folder that others can write
    beat.model_copy(update={"updated": ahead}).write(Study(study).progress_path(task))
    os.utime(Study(study).progress_path(task), (ahead, ahead))
    os.mkfifo(study / "results" / "fifo.json")
    (study / "results" / "half.json").write_text('{"status": "done", "id"')
    wait_for(lambda: status(study)["states"] == {"lost": 1}, 60, "a lost task")
    assert launch(study, data, "--executor", "slurm", "--profile", profile)["to_run"] == 1


def test_a_launcher_killed_after_sbatch_loses_nothing(
    cluster: Cluster, data: Path, tmp_path: Path, profile: Path
) -> None:
    """The record stands before the job does; the job's name says which record is its own."""
    study = tmp_path / "study"
    call = ["--array", "0-1", "--dataset", "tiny", "--recipe", "smoke", "--executor", "slurm", "--profile", profile]
    launcher = start("toolkit.launch", *call, "--data", data, "--study", study)
    records = (study / "submissions").glob
    queued = partial(cluster.slurm, "squeue", "--noheader", "--format=%j")
    wait_for(lambda: {record.stem for record in records("[!.]*.json")} & set(queued().stdout.split()), 60, "the job")
    launcher.send_signal(signal.SIGKILL)
    launcher.communicate()
    assert launch(study, data, "--executor", "slurm", "--profile", profile)["to_run"] == 0
    wait_for(lambda: len(errors(study)) == 2, 120, "both results")


def test_what_sbatch_refuses_is_told_and_not_recorded(cluster: Cluster, data: Path, tmp_path: Path) -> None:
    profile = tmp_path / "p.toml"
    profile.write_text('partition = "nowhere"\n')
    call = ["--array", "0", "--dataset", "tiny", "--executor", "slurm", "--profile", profile, "--recipe", "smoke"]
    launcher = start("toolkit.launch", *call, "--data", data, "--study", tmp_path / "study")
    _, said = launcher.communicate(timeout=60)
    assert launcher.returncode == 1
    assert said.count("invalid partition specified: nowhere") == 1
    assert not list((tmp_path / "study" / "submissions").glob("*.json"))
    assert status(tmp_path / "study")["states"] == {"waiting": 1}


def test_what_is_tried_again_stays_where_nothing_is_submitted(
    cluster: Cluster, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, profile = Study(tmp_path / "study"), tmp_path / "p.toml"
    profile.write_text('partition = "nowhere"\n')
    call = ["--array", "0", "--dataset", "tiny", "--executor", "slurm", "--profile", profile, "--recipe", "smoke"]
    verb("toolkit.launch", *call, "--data", data, "--study", study.path)
    ((task_id, one),) = study.tasks().items()
    checkpoint = study.checkpoint_folder(task_id) / "latest.pt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    failure = {"status": "failed", "failure": Failure(kind="OSError", message="no picture")}
    result(one).model_copy(update=failure).write(study.result_path(task_id))
    again = verb("toolkit.launch", *call, "--data", data, "--study", study.path, "--retry", "failed")
    assert (again.returncode, "nowhere" in again.stderr) == (1, True)
    assert status(study.path)["states"] == {"failed": 1} and checkpoint.exists()
    profile.write_text("cpus = 1\n")
    silent = tmp_path / "silent" / "scontrol"  # asked for the size of an array, after squeue and before sbatch
    silent.parent.mkdir()
    silent.write_text("#!/bin/sh\necho 'slurm_load_ctl_conf error: Unable to contact slurm controller' >&2; exit 1\n")
    silent.chmod(0o755)
    monkeypatch.setenv("PATH", f"{silent.parent}{os.pathsep}{os.environ['PATH']}")
    again = verb("toolkit.launch", *call, "--data", data, "--study", study.path, "--retry", "failed")
    assert (again.returncode, "Unable to contact" in again.stderr) == (1, True)
    assert status(study.path)["states"] == {"failed": 1} and checkpoint.exists()


def test_ten_thousand_tasks_are_split_into_arrays_and_cancelled(
    cluster: Cluster, data: Path, tmp_path: Path, profile: Path
) -> None:
    study = tmp_path / "study"
    profile.write_text(profile.read_text() + "throttle = 2\n")
    what = ["--array", "0-499", "--seeds", "0-19", "--dataset", "tiny"]
    submitted = launch(study, data, *what, "--executor", "slurm", "--profile", profile)
    assert submitted["states"] == {"queued": 10_000}
    assert len(submitted["jobs"]) == 10  # MaxArraySize is 1001
    running = cluster.slurm("squeue", "--noheader", "--states=running,completing").stdout.splitlines()
    assert len(running) <= 2
    assert launch(study, data, *what, "--executor", "slurm", "--profile", profile)["to_run"] == 0
    assert verb("toolkit.launch", "--study", study, "--cancel").returncode == 0
    wait_for(lambda: not cluster.slurm("squeue", "--noheader").stdout, 60, "an empty queue")
    assert status(study)["states"].keys() <= {"waiting", "preempted", "lost", "done", "diverged"}


def test_a_cancelled_task_saves_itself_and_stays_out_of_the_queue(
    cluster: Cluster, data: Path, tmp_path: Path, profile: Path
) -> None:
    study = tmp_path / "study"
    call = ["--array", "3-4", "--dataset", "tiny", "--set", "epochs=2000", "--executor", "slurm", "--per-job", 2]
    launch(study, data, *call, "--profile", profile)
    wait_for(lambda: training(study), 90, "a task that trains")
    assert verb("toolkit.launch", "--study", study, "--cancel").returncode == 0
    wait_for(lambda: not cluster.slurm("squeue", "--noheader").stdout, 60, "an empty queue")
    assert status(study)["states"] == {"preempted": 1, "waiting": 1}


def test_the_submit_limit_leaves_the_rest_for_later(
    cluster: Cluster, data: Path, tmp_path: Path, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "study"
    monkeypatch.setenv("LOGNAME", "nobody")  # whose jobs count is for Slurm to say
    profile.write_text(profile.read_text() + "submit_limit = 3\n")
    call = ["--array", "0-4", "--dataset", "tiny", "--set", "epochs=2000", "--executor", "slurm", "--profile", profile]
    first = launch(study, data, *call)
    assert (first["to_run"], first["states"]) == (2, {"queued": 2, "waiting": 3})
    assert "3 tasks exceed submit_limit 3: a small job launches them later" in first["stderr"]
    full = verb("toolkit.launch", "--study", study, "--data", data, "--executor", "slurm", "--profile", profile)
    assert full.returncode == 1
    assert "3 jobs are in the queue" in full.stderr


def test_a_small_job_launches_what_exceeded_the_limit(
    cluster: Cluster, data: Path, tmp_path: Path, profile: Path
) -> None:
    study = tmp_path / "it's a study"
    profile.write_text(profile.read_text() + "submit_limit = 3\n")
    launch(study, data, "--array", "0-3", "--dataset", "tiny", "--executor", "slurm", "--profile", profile)
    wait_for(lambda: not cluster.slurm("squeue", "--noheader").stdout, 300, "an empty queue")
    assert len(errors(study)) == 4
    assert sum(len(s.elements) for s in submissions(Study(study))) == 4  # each was submitted once


def test_doctor_tries_a_job_that_trains(cluster: Cluster, data: Path, tmp_path: Path, profile: Path) -> None:
    done = verb("toolkit.doctor", "--profile", profile, "--data", data, "--wait", 120)
    assert done.returncode == 0, done.stdout
    assert "2 datasets" in done.stdout and done.stdout.count("nothing was tried") == 2  # here, and on the node
    assert "wrote a dataset, read it by FFCV and trained on it" in done.stdout


def test_doctor_says_what_to_fix(cluster: Cluster, tmp_path: Path, profile: Path) -> None:
    profile.write_text('partition = "gpu"\nimage = "no.sif"\nbinds = ["/no/such/folder"]\n')
    done = verb("toolkit.doctor", "--profile", profile, "--data", tmp_path, "--json")
    assert done.returncode == 1
    wrong = {finding["part"] for finding in orjson.loads(done.stdout) if not finding["good"]}
    assert wrong == {"partition", "data", "bind", "image"}
    assert "preempt_send_user_signal" in done.stdout


def test_the_log_of_a_task_is_found(cluster: Cluster, data: Path, tmp_path: Path, profile: Path) -> None:
    study = tmp_path / "study"
    call = ["--array", "0", "--seeds", "0-1", "--dataset", "tiny", "--executor", "slurm", "--profile", profile]
    launch(study, data, *call, "--per-job", 2)
    wait_for(lambda: len(errors(study)) == 2, 120, "both results")
    for seed in (0, 1):
        task_id = Study(study).find("anynetx-500/0", "tiny", seed)
        lines = verb("toolkit.logs", study, "anynetx-500/0", "--dataset", "tiny", "--seed", seed).stdout.splitlines()
        assert lines[0].startswith(f"{task_id} ")
        assert {line.split()[0] for line in lines} <= {task_id, "srun:"}  # Slurm's last word comes after a task's
