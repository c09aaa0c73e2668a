"""Where Slurm keeps accounts, `status` tells how the job of a lost task ended."""

import getpass
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm.cluster import Cluster, missing_parts
from tests.conftest import real_part
from tests.executors.conftest import launch, status, verb, wait_for
from toolkit.cluster.accounting import parse


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    """A Slurm of one node with slurmdbd and a database of its own."""
    if missing := missing_parts(accounting=True):
        real_part(f"Slurm with accounting ({', '.join(missing)})")
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="slurm-")))
    cluster.start(nodes=1, cpus=1, accounting=True)
    yield cluster
    cluster.stop()


@pytest.fixture
def accounting(running: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The same, for Slurm's commands and the toolkit's."""
    monkeypatch.setenv("SLURM_CONF", str(running.config))
    return running


def submit(study: Path, data: Path, setup: str) -> str:
    """An array of two elements whose batch script begins with ``setup``; its job id."""
    profile = study.with_suffix(".toml")
    profile.write_text(f'cpus = 1\nmemory_gb = 0.5\nsetup = ["{setup}"]\n')
    call = ["--array", "0-1", "--dataset", "tiny", "--executor", "slurm", "--profile", profile]
    (job,) = launch(study, data, *call)["jobs"]
    return job


@pytest.mark.cluster
def test_the_reason_of_a_lost_task_is_slurms(accounting: Cluster, data: Path, tmp_path: Path) -> None:
    left = lambda: not accounting.slurm("squeue", "--noheader").stdout  # noqa: E731
    submit(tmp_path / "failing", data, "exit 7")
    wait_for(left, 60, "the end of an array that fails")
    job = submit(tmp_path / "cancelled", data, "sleep 600")
    wait_for(lambda: accounting.slurm("squeue", "--noheader", "--states=running").stdout, 60, "a running element")
    accounting.slurm("scancel", job)
    wait_for(left, 60, "the end of an array that is cancelled")
    for study, words in (("failing", "FAILED (exit 7:0)"), ("cancelled", "CANCELLED by 0")):
        reason = f"left the queue without a heartbeat; Slurm: {words}"
        wait_for(lambda s=study: "Slurm:" in str(status(tmp_path / s)), 30, "slurmdbd's word")  # it comes seconds later
        assert [task["reason"] for task in status(tmp_path / study)["trouble"]] == [reason, reason]
        assert reason in verb("toolkit.status", tmp_path / study, "--failed").stdout


@pytest.mark.cluster
def test_a_net_that_diverges_is_no_failed_job(accounting: Cluster, data: Path, tmp_path: Path) -> None:
    study, profile = tmp_path / "study", tmp_path / "p.toml"
    profile.write_text("cpus = 1\n")
    call = ["--array", 0, "--dataset", "tiny", "--executor", "slurm", "--profile", profile]
    (job,) = launch(study, data, *call)["jobs"]
    wait_for(lambda: status(study)["states"] == {"diverged": 1}, 60, "a net at chance level", every=0.5)
    told = ("sacct", "--allocations", "--noheader", "--parsable2", f"--jobs={job}", "--format=State,ExitCode")
    wait_for(lambda: accounting.slurm(*told).stdout == "COMPLETED|0:0\n", 60, "Slurm's word", every=0.5)


@pytest.mark.cluster
def test_the_users_submit_limit_is_read_from_the_accounts(accounting: Cluster, data: Path, tmp_path: Path) -> None:
    me = getpass.getuser()
    accounting.slurm("sacctmgr", "--immediate", "add", "account", "lab")
    accounting.slurm("sacctmgr", "--immediate", "add", "user", me, "account=lab", "MaxSubmitJobs=3")
    profile = tmp_path / "p.toml"
    profile.write_text('cpus = 1\nsetup = ["sleep 600"]\n')
    call = ["--array", "0-4", "--dataset", "tiny", "--executor", "slurm", "--profile", profile]
    first = launch(tmp_path / "study", data, *call)
    assert first["states"] == {"queued": 2, "waiting": 3}
    assert "3 tasks exceed submit_limit 3" in first["stderr"]
    assert "3 of your jobs may be in the queue" in verb("toolkit.doctor", "--data", data, "--wait", 0).stdout


@pytest.mark.cluster
def test_what_accounts_forbid_is_said_before_and_what_they_hold_back_after(
    accounting: Cluster, data: Path, tmp_path: Path
) -> None:
    me = getpass.getuser()
    for words in (
        ["add", "account", "lab"],
        ["add", "user", me, "account=lab"],
        ["add", "qos", "small"],
        ["modify", "qos", "small", "set", "MaxTRESPerUser=cpu=0"],
        ["modify", "user", me, "set", "qos+=small", "MaxSubmitJobs=-1"],
    ):
        accounting.slurm("sacctmgr", "--immediate", *words)
    with accounting.config.open("a") as file:
        file.write("AccountingStorageEnforce=associations,limits,qos\n")
    accounting.stop_controller()
    accounting.start_controller()
    profile, study = tmp_path / "p.toml", tmp_path / "study"
    call = ["--array", "0", "--dataset", "tiny", "--executor", "slurm", "--profile", profile]
    dry = ["toolkit.launch", *call, "--recipe", "smoke", "--study", study, "--data", data, "--dry-run"]
    for wrong, says in (
        ('account = "nowhere"', "invalid account"),
        ('account = "lab"\nqos = "nowhere"', "invalid qos"),
    ):
        profile.write_text(f"cpus = 1\n{wrong}\n")
        done = verb(*dry)
        assert done.returncode == 1 and says in done.stderr.splitlines()[-1].lower(), done.stderr
    profile.write_text('cpus = 1\naccount = "lab"\nqos = "small"\n')
    launch(study, data, *call)
    reason = {"pending (QOSMaxCpuPerUserLimit)": 1}
    wait_for(lambda: status(study)["stuck"] == reason, 30, f"the limit, not {status(study)['stuck']}", every=0.5)
    assert verb("toolkit.launch", "--study", study, "--cancel").returncode == 0


@pytest.mark.cluster
def test_without_accounting_there_is_only_less_to_say(cluster: Cluster, data: Path, tmp_path: Path) -> None:
    submit(tmp_path / "study", data, "exit 7")
    wait_for(lambda: not cluster.slurm("squeue", "--noheader").stdout, 60, "the end of an array that fails")
    told = status(tmp_path / "study")
    assert {task["reason"] for task in told["trouble"]} == {"left the queue without a heartbeat"}
    assert told["warning"] is None


def test_elements_that_never_ran_stand_together_and_those_that_live_are_left_out() -> None:
    lines = ["a|7_3|OUT_OF_MEMORY|0:125", "a|7_[4-5,8%2]|CANCELLED by 0|0:0", "a|7_6|RUNNING|0:0", "b|8|NODE_FAIL|1:0"]
    cancelled = dict.fromkeys((4, 5, 8), "CANCELLED by 0")
    assert parse("\n".join(lines)) == {
        "a": {3: "OUT_OF_MEMORY (exit 0:125)", **cancelled},
        "b": {0: "NODE_FAIL (exit 1:0)"},
    }
