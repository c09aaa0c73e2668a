"""Work in Slurm's queue is known by its job id, whatever the launching shell has in its environment."""

import contextlib
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from slurm.cluster import Cluster
from tests.conftest import real_part
from tests.executors.conftest import environment, errors, launch, status, training, verb, wait_for
from toolkit.study import Study
from toolkit.study.submission import submissions

pytestmark = pytest.mark.cluster

LONG = ["--set", "epochs=2000"]
MISLEADING = {
    "SBATCH_JOB_NAME": "mine",
    "SBATCH_TIMELIMIT": "1",
    "SBATCH_EXPORT": "NONE",
    "SLURM_EXPORT_ENV": "NONE",
    "SQUEUE_STATES": "COMPLETED",
    "SQUEUE_PARTITION": "urgent",
    "SQUEUE_FORMAT": "%i",
    "SCANCEL_STATE": "SUSPENDED",
    "LOGNAME": "nobody",
}
"""What people have in their shells' start-up files; each one changes what Slurm's commands do or print."""


def queued(cluster: Cluster) -> str:
    return cluster.slurm("squeue", "--noheader", "--format=%A|%j").stdout


def test_a_misleading_shell_changes_nothing(
    cluster: Cluster, data: Path, tmp_path: Path, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "study"
    what = ["--array", "3-4", "--dataset", "tiny", "--executor", "slurm", "--profile", profile]
    for name, value in MISLEADING.items():
        monkeypatch.setenv(name, value)
    first = launch(study, data, *what, *LONG)
    assert first["states"] == {"queued": 2}
    assert launch(study, data, *what, *LONG)["to_run"] == 0
    cluster.slurm("scontrol", "update", f"jobid={first['jobs'][0]}", "jobname=renamed")
    assert launch(study, data, *what, *LONG)["to_run"] == 0
    assert verb("toolkit.launch", "--study", study, "--cancel").returncode == 0
    for name in MISLEADING:
        monkeypatch.delenv(name)
    wait_for(lambda: not queued(cluster), 60, "an empty queue")


INSIDE = {
    "salloc, srun": ["salloc", "--quiet", "--ntasks=1", "--mem-per-cpu=100M", "srun", "--mem-per-cpu=100M"],
    "sbatch": ["sbatch", "--quiet", "--wait", "--ntasks=1", "--mem-per-cpu=100M", "--output=/dev/null"],
}
"""How people come to type a launch inside a job; a notebook's server is such a batch job, too."""


@pytest.mark.parametrize("kind", INSIDE)
def test_a_launch_inside_an_allocation_trains(
    kind: str, cluster: Cluster, data: Path, tmp_path: Path, profile: Path
) -> None:
    study, script, log = tmp_path / "study", tmp_path / "launch.sh", tmp_path / "log"
    profile.write_text(profile.read_text() + "memory_gb = 1\nsetup = ['[ \"$OF_THE_SHELL\" = handed-on ] || exit 9']\n")
    call = ["--array", "0-1", "--dataset", "tiny", "--recipe", "smoke", "--executor", "slurm", "--profile", profile]
    words = [sys.executable, "-m", "toolkit.launch", *call, "--study", study, "--data", data]
    exports = {"SBATCH_EXPORT": "NONE", "SLURM_EXPORT_ENV": "NONE", "CUDA_VISIBLE_DEVICES": "0"}
    inside = [f"export {name}={value}" for name, value in exports.items()]
    script.write_text("\n".join(["#!/bin/bash", f"exec > {log} 2>&1", *inside, f"exec {shlex.join(map(str, words))}"]))
    script.chmod(0o755)
    command = [*INSIDE[kind], script]
    around = {**environment(), "OF_THE_SHELL": "handed-on"}
    done = subprocess.run(command, env=around, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (done.stderr, log.read_text())
    assert "launched inside job" in log.read_text()
    wait_for(lambda: len(errors(study)) == 2 or not queued(cluster), 120, "both results")
    assert len(errors(study)) == 2, status(study)
    assert status(study)["states"].keys() <= {"done", "diverged"}


def test_a_result_that_is_seen_late_is_neither_lost_nor_done_again(
    cluster: Cluster, data: Path, tmp_path: Path, profile: Path
) -> None:
    study, before = tmp_path / "study", tmp_path / "as it was"
    if os.geteuid():
        real_part("an old view of a folder (mount)", "run as root")
    before.mkdir()
    launch(study, data, "--array", "0", "--dataset", "tiny", "--executor", "slurm", "--profile", profile)
    wait_for(lambda: not queued(cluster), 120, "the end of the job")

    def late(name: str, *arguments: object) -> str:
        """Run a verb where the folder of results looks as it did before the job wrote to it."""
        view = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', before]
        command = [*view, study / "results", sys.executable, "-m", name, *arguments]
        done = subprocess.run([*map(str, command)], env=environment(), capture_output=True, text=True, check=True)
        return done.stdout

    assert orjson.loads(late("toolkit.status", study, "--json"))["states"] == {"finishing": 1}
    again = orjson.loads(late("toolkit.launch", "--study", study, "--data", data, "--json"))
    assert (again["to_run"], again["states"]) == (0, {"finishing": 1})
    late("toolkit.launch", "--study", study, "--cancel")
    assert status(study)["states"] == {"diverged": 1}  # as all of one epoch: it has its result
    (record,) = submissions(Study(study))
    assert not record.cancelled


@pytest.fixture
def impatient(cluster: Cluster, tmp_path: Path) -> Path:
    """The cluster's configuration for a client that waits two seconds for an answer, not ten."""
    copy = tmp_path / "impatient.conf"
    copy.write_text(cluster.config.read_text() + "MessageTimeout=2\n")
    return copy


@contextlib.contextmanager
def silent(cluster: Cluster) -> Iterator[None]:
    """A controller that takes what it is sent, and answers when this is over."""
    pid = int((cluster.state / "slurmctld.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def gone(cluster: Cluster) -> Iterator[None]:
    cluster.stop_controller()
    try:
        yield
    finally:
        cluster.start_controller()


def test_a_time_out_after_sbatch_took_the_job_loses_and_doubles_nothing(
    cluster: Cluster, impatient: Path, data: Path, tmp_path: Path, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, real, pid = tmp_path / "study", shutil.which("sbatch"), (cluster.state / "slurmctld.pid").read_text().strip()
    deaf = tmp_path / "deaf" / "sbatch"
    deaf.parent.mkdir()
    deaf.write_text(
        f'#!/bin/sh\nkill -STOP {pid}\nSLURM_CONF={impatient} {real} "$@"\nstatus=$?\nkill -CONT {pid}\nexit $status\n'
    )
    deaf.chmod(0o755)
    what = ["--array", "3", "--dataset", "tiny", *LONG, "--executor", "slurm", "--profile", profile]
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{deaf.parent}{os.pathsep}{os.environ['PATH']}")
        done = verb("toolkit.launch", *what, "--recipe", "smoke", "--study", study, "--data", data)
    assert done.returncode == 1
    assert "may be queued or not" in done.stderr.splitlines()[-1] and "Socket timed out" in done.stderr
    (record,) = submissions(Study(study))
    wait_for(lambda: record.name in queued(cluster), 30, "the job that the controller took all the same")
    assert record.job is None
    job = queued(cluster).partition("|")[0]
    cluster.slurm("scontrol", "update", f"jobid={job}", "jobname=renamed")
    assert queued(cluster) == f"{job}|renamed\n"
    assert launch(study, data, *what)["to_run"] == 0
    assert len(queued(cluster).splitlines()) == 1
    assert verb("toolkit.launch", "--study", study, "--cancel").returncode == 0
    wait_for(lambda: not queued(cluster), 60, "an empty queue")


@pytest.mark.parametrize("away, says", [(silent, "Socket timed out"), (gone, "Unable to contact")])
def test_nothing_is_submitted_while_the_controller_does_not_answer(
    away: Callable[[Cluster], contextlib.AbstractContextManager[None]], says: str, cluster: Cluster, impatient: Path,
    data: Path, tmp_path: Path, profile: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    study = tmp_path / "study"
    what = ["--array", "3", "--dataset", "tiny", *LONG, "--executor", "slurm", "--profile", profile]
    launch(study, data, *what)
    wait_for(lambda: training(study), 90, "a task that trains")  # srun asks the controller when an element starts
    with away(cluster), monkeypatch.context() as patched:
        patched.setenv("SLURM_CONF", str(impatient))
        done = verb("toolkit.launch", *what, "--recipe", "smoke", "--study", study, "--data", data)
        told = status(study)
    assert done.returncode == 1, done.stdout
    assert done.stderr.splitlines()[-1].startswith("error: squeue") and "Traceback" not in done.stderr
    assert says in done.stderr and says in told["warning"] and told["states"].keys() <= {"queued", "running"}
    assert launch(study, data, *what)["to_run"] == 0
    assert len(submissions(Study(study))) == 1


def test_the_answer_of_sbatch_is_found_below_a_banner(
    cluster: Cluster, data: Path, tmp_path: Path, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, real = tmp_path / "study", shutil.which("sbatch")
    chatty = tmp_path / "chatty" / "sbatch"
    chatty.parent.mkdir()
    chatty.write_text(f'#!/bin/sh\necho "Welcome! Submitted batch job 42 was the best of the week"\nexec {real} "$@"\n')
    chatty.chmod(0o755)
    monkeypatch.setenv("PATH", f"{chatty.parent}{os.pathsep}{os.environ['PATH']}")
    what = ["--array", "3", "--dataset", "tiny", *LONG, "--executor", "slurm", "--profile", profile]
    (job,) = launch(study, data, *what)["jobs"]
    assert f"{job}|" in queued(cluster)
    assert launch(study, data, *what)["to_run"] == 0


def test_the_dry_run_asks_sbatch(cluster: Cluster, data: Path, tmp_path: Path) -> None:
    profile, study = tmp_path / "p.toml", tmp_path / "study"
    call = ["--array", 0, "--dataset", "tiny", "--recipe", "smoke", "--executor", "slurm", "--profile", profile]
    for wrong, says in (
        ('partition = "nowhere"', "invalid partition"),
        ('constraint = "h200"', "feature"),
        ("cpus = 64", ""),
    ):
        profile.write_text(f"{wrong}\n")
        done = verb("toolkit.launch", *call, "--study", study, "--data", data, "--dry-run")
        assert done.returncode == 1, done.stdout
        last = done.stderr.splitlines()[-1]
        assert last.startswith("error: sbatch would refuse the array") and says in last.lower()
    profile.write_text("cpus = 1\n")
    good = [*call, "--study", study, "--data", data, "--dry-run"]
    wait_for(lambda: verb("toolkit.launch", *good).returncode == 0, 60, "nodes that other tests' jobs have left")
    profile.write_text("cpus = 1\ntime_min = 1441\n")
    last = verb("toolkit.launch", *good).stderr.splitlines()[-1]
    assert last.startswith("error: time_min 1441 is over the partition's limit of 1440 min")
    assert not study.exists() and not queued(cluster)


def test_status_says_why_a_job_waits_for_a_person(cluster: Cluster, data: Path, tmp_path: Path, profile: Path) -> None:
    study = tmp_path / "study"
    profile.write_text(profile.read_text() + "[sbatch]\nhold = true\n")
    launch(study, data, "--array", "3", "--dataset", "tiny", "--executor", "slurm", "--profile", profile)
    assert status(study)["stuck"] == {"pending (JobHeldUser)": 1}
    assert "1 tasks pending (JobHeldUser)" in verb("toolkit.status", study).stdout


def test_another_user_sees_the_jobs_and_cannot_cancel_them(
    cluster: Cluster, data: Path, tmp_path_factory: pytest.TempPathFactory, profile: Path
) -> None:
    if os.geteuid():
        real_part("another user", "run as root")
    folder = Path("/tmp") / f"shared-{os.getpid()}"
    shutil.copytree(data, folder / "data")
    study, mine = folder / "study", Path(shutil.copy(profile, folder / "profile.toml"))
    what = ["--array", "3", "--dataset", "tiny", *LONG, "--executor", "slurm", "--profile", mine]
    try:
        launch(study, folder / "data", *what)
        for path in (folder, *folder.rglob("*")):
            if path.is_relative_to(study / "code"):
                continue  # a job that starts late refuses code that others may write, and would be gone from the queue
            path.chmod(path.stat().st_mode | (0o777 if stat.S_ISDIR(path.stat().st_mode) else 0o666))
        again = as_nobody("toolkit.launch", *what, "--recipe", "smoke", "--study", study, "--data", folder / "data")
        assert again.returncode == 0, again.stderr
        assert "0 to run" in again.stderr and "it is not used" in again.stderr
        refused = as_nobody("toolkit.launch", "--study", study, "--cancel")
        assert refused.returncode == 1
        assert refused.stderr.startswith("error: scancel") and len(refused.stderr.splitlines()) == 1
        assert len(queued(cluster).splitlines()) == 1
    finally:
        cluster.slurm("scancel", "--partition=main")
        wait_for(lambda: not queued(cluster), 60, "the job's end, which writes into the folder")
        shutil.rmtree(folder)


def as_nobody(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """As a user without rights, but for reading: this Python may lie in root's home."""
    reading = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *reading, sys.executable, "-m", name]
    return subprocess.run(
        [*command, *map(str, arguments)], env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
