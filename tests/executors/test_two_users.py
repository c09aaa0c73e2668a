"""Two users without any rights over each other share one study in their group's folder; the jobs of both run."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from slurm.cluster import Cluster
from tests.conftest import real_part
from tests.executors.conftest import ROOT, errors, wait_for

pytestmark = pytest.mark.cluster

GROUP = "65534"


@dataclass(frozen=True)
class User:
    """Somebody of the group, who reads and writes what the files' rights allow and no more."""

    name: str
    umask: str
    folder: Path
    """The group's."""

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        who = ["setpriv", f"--reuid={self.name}", f"--regid={GROUP}", "--clear-groups", "--inh-caps=-all"]
        shell = ["bash", "-c", f'umask {self.umask}; exec "$@"', "bash"]
        around = {name: os.environ[name] for name in ("PATH", "SLURM_CONF")} | {
            "HOME": str(self.folder),
            "PYTHONPATH": f"{self.folder}/code",
        }
        return subprocess.run(
            [*who, *shell, *map(str, command)],
            env=around, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def verb(self, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return self.run(self.folder / "venv" / "bin" / "python", "-m", name, *arguments)


@pytest.fixture
def folder(data: Path) -> Iterator[Path]:
    """A folder of the group's, and what every user of a lab can read: Python, its packages, this code, data."""
    if os.geteuid():
        real_part("two other users", "run as root")
    folder = Path(tempfile.mkdtemp(prefix="lab-"))
    shutil.copytree(data, folder / "data")
    packages = Path(sysconfig.get_path("purelib"))
    mounts = {
        folder / "code": ROOT,
        folder / "python": sys.base_prefix,
        folder / "venv" / packages.relative_to(sys.prefix): packages,
    }
    for place, source in mounts.items():
        if place.parent != folder:
            python = folder / "python" / "bin" / Path(sys.executable).resolve().name
            subprocess.run([python, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        place.mkdir(exist_ok=True)
        subprocess.run(["mount", "--bind", source, place], check=True)
    (folder / "runs").mkdir()
    os.chown(folder / "runs", 0, int(GROUP))
    (folder / "runs").chmod(0o2775)
    for path in (folder, folder / "data"):
        path.chmod(0o755)
    yield folder
    for place in mounts:
        subprocess.run(["umount", "--lazy", place], check=True)
        place.rmdir()  # fails where it is not empty: what was mounted must not be removed
    shutil.rmtree(folder)


def test_two_users_share_a_study_and_the_jobs_of_both_run(cluster: Cluster, folder: Path) -> None:
    cluster.state.chmod(0o755)
    profile, study = folder / "profile.toml", folder / "runs" / "study"
    profile.write_text("cpus = 1\ntime_min = 30\n")
    one, other = User("daemon", "022", folder), User("nobody", "002", folder)

    def launch(user: User, nets: str, *more: object) -> dict:
        what = ["--array", nets, "--dataset", "tiny", "--recipe", "smoke", "--executor", "slurm", "--per-job", 2]
        call = [*what, "--profile", profile, "--data", folder / "data", "--study", study, "--json", *more]
        done = user.verb("toolkit.launch", *call)
        assert done.returncode == 0, done.stderr
        return orjson.loads(done.stdout)

    cluster.slurm("scontrol", "update", "partitionname=main", "state=down")
    try:
        (first,) = launch(one, "3-4")["jobs"]
        added = launch(other, "3-6")
        assert (added["to_run"], added["states"]) == (2, {"queued": 4})
        refused = other.verb("toolkit.launch", "--study", study, "--cancel")
        assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1), refused.stderr
        assert refused.stderr.startswith("error: ") and first in refused.stderr and "denied" in refused.stderr
        left = cluster.slurm("squeue", "--noheader", "--format=%F %u").stdout.splitlines()
        assert left == [f"{first} daemon"]  # what was the other's own is cancelled
        assert launch(other, "3-6")["to_run"] == 2
    finally:
        cluster.slurm("scontrol", "update", "partitionname=main", "state=up")
    wait_for(lambda: not cluster.slurm("squeue", "--noheader").stdout, 120, "the end of both arrays", every=0.5)
    results = sorted((study / "results").glob("[!.]*.json"))
    assert len(errors(study)) == 4, [log.read_text() for log in (study / "logs").glob("*.out")]
    assert sorted(path.owner() for path in results) == ["daemon", "daemon", "nobody", "nobody"]
    (folder / "data").chmod(0o700)
    shut = other.verb("toolkit.launch", "--study", study, "--data", folder / "data")
    assert shut.returncode == 1 and "Traceback" not in shut.stderr
    assert shut.stderr.splitlines()[-1].startswith(f"error: {folder}/data/") and "not open to you" in shut.stderr
    (folder / "data").chmod(0o755)
    for user in (one, other):
        assert user.run("cat", *results).returncode == 0
        told = user.verb("toolkit.status", study, "--json")
        assert orjson.loads(told.stdout)["states"].keys() <= {"done", "diverged"}, told.stderr
        again = launch(user, "3-6", "--retry", "failed")
        assert (again["to_run"], again["jobs"]) == (0, [])
