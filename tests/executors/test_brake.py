"""A broken node does not eat the array, and an element that cannot do its work says so before it trains."""

import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from slurm.cluster import Cluster
from tests.conftest import real_part
from tests.executors.conftest import launch, status, verb, wait_for
from toolkit.cluster.brake import broken_nodes, lines, strikes
from toolkit.study import Study


@pytest.mark.cluster
def test_a_broken_node_loses_three_elements_and_no_more(cluster: Cluster, data: Path, tmp_path: Path) -> None:
    study, profile, ran = tmp_path / 'it\'s "a study"', tmp_path / "p.toml", tmp_path / "ran"
    broken = f'echo $SLURMD_NODENAME >> {ran}; [ "$SLURMD_NODENAME" != n1 ] || exit 9'
    profile.write_text(f"cpus = 1\npython = 'true'\nsetup = ['{broken}']\n")  # nothing is trained
    call = ["--array", "0-11", "--dataset", "tiny", "--executor", "slurm", "--profile", profile]
    launch(study, data, *call)
    wait_for(lambda: not cluster.slurm("squeue", "--noheader").stdout, 240, "the end of the array")
    nodes = Counter(ran.read_text().split())
    assert nodes.total() == 12 and 3 <= nodes["n1"] <= 4  # one more may have begun when the third ended
    assert status(study)["trouble_by_node"] == {"n1": nodes["n1"]}
    assert f"failed or lost: {nodes['n1']} on n1" in verb("toolkit.status", study).stdout
    again = verb("toolkit.launch", "--study", study, "--data", data, "--executor", "slurm", "--dry-run")
    assert "#SBATCH --exclude=n1" in again.stdout, again.stderr


@pytest.mark.cluster
def test_where_every_node_was_left_out_it_is_said_and_settled(cluster: Cluster, data: Path, tmp_path: Path) -> None:
    study, profile, broken = tmp_path / "study", tmp_path / "p.toml", tmp_path / "broken"
    broken.touch()
    profile.write_text(f"cpus = 1\npython = 'true'\nsetup = ['[ ! -e {broken} ] || exit 9']\n")  # nothing is trained
    call = ["--dataset", "tiny", "--executor", "slurm", "--profile", profile]
    first = launch(study, data, "--array", "0-11", *call)
    wait_for(lambda: [*status(study)["stuck"]] == ["pending (BadConstraints)"], 120, "both brakes", every=0.5)
    waiting = status(study)["stuck"]["pending (BadConstraints)"]
    assert f"{waiting} tasks pending (BadConstraints)" in verb("toolkit.status", study).stdout
    go_on = ["toolkit.launch", "--study", study, "--data", data, *call]
    for done in (verb(*go_on, "--array", "20-21", "--recipe", "smoke", "--dry-run"), verb(*go_on)):
        line = done.stderr.splitlines()[-1]
        assert done.returncode == 1 and line.startswith("error: no node that could take these tasks is left: n1 (")
        assert f"elements ended early: logs/{first['jobs'][0]}_" in line and ", n2 (" in line
    assert f"note: {waiting} tasks wait in the queue" in done.stderr and "--retry nodes" in done.stderr
    assert status(study)["states"] == {"queued": waiting, "lost": 12 - waiting}
    broken.unlink()
    settled = launch(study, data, *call, "--retry", "nodes")
    assert settled["to_run"] == 12 - waiting, settled
    wait_for(lambda: not cluster.slurm("squeue", "--noheader").stdout, 120, "the end of all", every=0.5)
    assert status(study)["stuck"] == {} and not list((study / "nodes").iterdir())


def run_script(folder: Path, status: int, *before: str, scontrol: str = "") -> str:
    """A batch script's end on node n1; what scontrol was called with, and whether the node's place was held."""
    script = "\n".join([*before, *lines(folder, "n9"), f"exit {status}"])
    fake = f"scontrol() {{ echo called: $* >&3; {scontrol or 'true'}; }}\nsleep() {{ echo slept; }}\nexec 3>&1\n"
    around = {**os.environ, "SLURMD_NODENAME": "n1", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}
    done = subprocess.run(["bash", "-c", fake + script], env=around, capture_output=True, text=True, check=False)
    assert done.returncode == status
    return done.stdout.strip()


def test_strikes_are_counted_until_an_element_gets_through(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s "nodes"'
    folder.mkdir()
    assert [run_script(folder, 69), run_script(folder, 9), run_script(folder, 137)] == ["", "", ""]
    assert strikes(folder) == {"n1": [("7", 0), ("7", 0)]} and not broken_nodes(folder, folder.stat().st_mtime)
    assert run_script(folder, 1, "SECONDS=121") == ""  # it has trained
    called = "called: update JobId=7 ExcNodeList=n1,n9"
    assert run_script(folder, 1) == called
    assert run_script(folder, 1, scontrol="echo 7_3: No error; false") == called  # of other elements it said no
    assert run_script(folder, 1, scontrol="echo Access denied; false") == f"{called}\nslept"
    assert broken_nodes(folder, folder.stat().st_mtime) == ["n1"]
    assert broken_nodes(folder, folder.stat().st_mtime + 90_000) == []
    for through in (0, 3, 75):
        run_script(folder, 69)
        assert run_script(folder, through) == "" and strikes(folder) == {}


@pytest.mark.cluster
def test_an_element_without_room_says_so_before_it_trains(cluster: Cluster, data: Path, tmp_path: Path) -> None:
    if os.geteuid():
        real_part("a disk of its own for a folder (mount)", "run as root")
    study, profile = Study.create(tmp_path / "study"), tmp_path / "p.toml"
    profile.write_text("cpus = 1\n")
    checkpoints = study.room("checkpoints")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", checkpoints], check=True)
    try:
        call = ["--array", 0, "--dataset", "tiny", "--executor", "slurm", "--profile", profile]
        (job,) = launch(study.path, data, *call)["jobs"]
        wait_for(lambda: not cluster.slurm("squeue", "--noheader").stdout, 120, "the end of the array", every=0.5)
    finally:
        subprocess.run(["umount", "--lazy", checkpoints], check=True)
    (log,) = study.room("logs").glob("*_log.out")
    assert "checkpoints has 1 MB left, a task needs 64: make room" in log.read_text()
    assert "Traceback" not in log.read_text() and not study.finished()
    (note,) = (study.path / "nodes").iterdir()  # the brake's
    assert note.read_text() == f"{job} 0 {os.EX_UNAVAILABLE}\n"
