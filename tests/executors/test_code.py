"""A change of the code reaches no queued task: each submission runs a copy of it, or refuses."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slurm.cluster import Cluster
from tests.executors.conftest import ROOT, environment, errors, wait_for
from toolkit.errors import ToolkitError
from toolkit.executors.code import check_code, code_digest, collect, guard, keep_code, snapshots, why_no_snapshot
from toolkit.study import Study
from toolkit.study.submission import submissions


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of its own, which may be changed."""
    shutil.copytree(ROOT / "toolkit", tmp_path / "checkout" / "toolkit")
    return tmp_path / "checkout"


def launched(checkout: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "toolkit.launch", "--recipe", "smoke", "--executor", "slurm", *map(str, arguments)]
    around = {**environment(), "PYTHONPATH": str(checkout)}
    return subprocess.run(command, env=around, capture_output=True, text=True, timeout=300, check=True, cwd=checkout)


@pytest.mark.cluster
def test_what_is_queued_runs_the_code_that_was_submitted(
    cluster: Cluster, checkout: Path, data: Path, tmp_path: Path, profile: Path
) -> None:
    own, shared, strict = tmp_path / 'it\'s "own"', tmp_path / "shared", tmp_path / "strict.toml"
    profile.write_text(profile.read_text() + "[sbatch]\nhold = true\n")
    strict.write_text('code = "checkout"\n' + profile.read_text())
    what = ["--array", 3, "--dataset", "tiny", "--data", data]
    launched(checkout, *what, "--study", own, "--profile", profile)
    launched(checkout, *what, "--study", shared, "--profile", strict)
    pack = checkout / "toolkit" / "training" / "pack.py"
    pack.write_text(pack.read_text() + "\nraise SystemExit('not what was submitted')\n")
    for (record,) in (submissions(Study(own)), submissions(Study(shared))):
        cluster.slurm("scontrol", "release", record.job)
    wait_for(lambda: not cluster.slurm("squeue", "--noheader").stdout, 180, "the end of both jobs")
    assert len(errors(own)) == 1
    assert not errors(shared)
    (log,) = (shared / "logs").glob("*_log.out")
    assert "has changed since this was submitted" in log.read_text()
    assert not snapshots(Study(shared)).exists()
    (first,) = [path.name for path in snapshots(Study(own)).iterdir()]
    assert first == submissions(Study(own))[0].code
    pack.write_text(pack.read_text().replace("raise SystemExit", "# raise SystemExit"))
    launched(checkout, *what, "--study", own, "--profile", profile, "--seeds", 1)
    (second,) = [path.name for path in snapshots(Study(own)).iterdir()]  # nobody in the queue runs the first any more
    assert second != first


def test_a_snapshot_is_kept_once_and_nobody_else_may_write_it(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    before = os.umask(0o002)
    try:
        kept = keep_code(study)
    finally:
        os.umask(before)
    assert keep_code(study) == kept and kept.name == code_digest() == code_digest(kept)
    assert not [path for path in (kept.parent, *kept.parent.rglob("*")) if path.stat().st_mode & 0o022]
    (kept.parent / "0123").mkdir()
    (kept.parent / "4567").mkdir()
    collect(study, {"4567"})
    assert {path.name for path in kept.parent.iterdir()} == {kept.name, "4567"}
    with pytest.raises(ToolkitError, match="has changed since"):
        check_code("0123")
    check_code(code_digest())


@pytest.mark.parametrize(
    "harm", [lambda folder: folder.chmod(0o775), lambda folder: folder.rename(folder.parent / "x")]
)
def test_a_folder_that_others_can_write_runs_nothing(tmp_path: Path, harm) -> None:
    study = Study.create(tmp_path / 'it\'s "odd"')
    keep_code(study)
    call = ["bash", "-c", f"{guard(study)}\necho ran"]
    assert subprocess.run(call, capture_output=True, text=True, check=False).stdout == "ran\n"
    harm(snapshots(study))
    if not snapshots(study).exists():
        snapshots(study).symlink_to(study.path / "x")
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (os.EX_NOPERM, "") and "can be written by others" in done.stderr
    assert why_no_snapshot(study)
