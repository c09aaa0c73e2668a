"""Attacks of a real second user of the machine, in folders that this user may write to."""

import json
import logging
import os
import pickle
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.executors.conftest import data as small_data
from tests.executors.conftest import environment, launch, wait_for
from tests.security.conftest import NAME
from tests.study.strategies import task as make_task
from toolkit.anynet.frozen import Freezer
from toolkit.cluster.array import JobArray
from toolkit.cluster.container import HOST, folders
from toolkit.cluster.profile import Profile
from toolkit.errors import ToolkitError, UsageError
from toolkit.files import of_another
from toolkit.launch import main as launch_verb
from toolkit.launching.memory import LaunchMemory
from toolkit.launching.reconcile import cancel
from toolkit.study import Study
from toolkit.study.submission import new_submission, process_began, record_path, submissions
from toolkit.training.provenance import revision_of

__all__ = ["small_data"]
SECRET = "a file of the user's"


@pytest.fixture
def study(shared: Path) -> Study:
    """A study of this user's, in which anybody may write."""
    study = Study.create(shared / "study")
    study.declare([make_task()])
    for room in [study.path, *study.path.iterdir()]:
        room.chmod(0o777)
    return study


def test_results_do_not_go_where_another_users_link_leads(attacker, study: Study, tmp_path: Path) -> None:
    attacker("rmdir", study.room("results"))
    attacker("ln", "-s", tmp_path, study.room("results"))
    for enter in (Study.open, Study.create):
        with pytest.raises(ToolkitError, match=f"results is a link and belongs to user {NAME}"):
            enter(study.path)
    study.room("results").unlink()
    study.room("results").symlink_to(tmp_path)  # one's own leads where one wants
    assert Study.open(study.path) == study


def test_a_launch_says_whose_the_study_is(attacker, study: Study, caplog) -> None:
    assert of_another(study.path) == "may be written by anybody"
    study.path.chmod(0o755)
    assert of_another(study.path) is None
    attacker("mkdir", study.path.parent / "theirs")
    assert of_another(study.path.parent / "theirs") == f"belongs to user {NAME}"
    with caplog.at_level(logging.INFO), pytest.raises(UsageError, match="unknown dataset"):
        launch_verb(["--study", str(study.path.parent / "theirs"), "--dataset", "no", "--array", "0"])
    assert f"theirs belongs to user {NAME}: who can write there decides what its tasks are" in caplog.text


def test_a_launch_says_whose_profile_and_nets_it_runs(attacker, shared: Path, tmp_path: Path, caplog) -> None:
    attacker("tee", shared / "site.toml", stdin='setup = ["true"]\n')
    attacker("tee", shared / "nets.py", stdin="def Net(num_classes): ...\n")
    options = ["--study", str(tmp_path / "s"), "--profile", str(shared / "site.toml"), "--dataset", "no"]
    with caplog.at_level(logging.INFO), pytest.raises(UsageError, match="declared nothing"):
        launch_verb(options)
    with caplog.at_level(logging.INFO):
        Freezer().model(f"{shared}/nets.py:Net")
    assert f"site.toml belongs to user {NAME}: its shell lines are run as you" in caplog.text
    assert f"nets.py belongs to user {NAME}: it is run as you" in caplog.text


def plant(attacker, study: Study, **fields: object) -> None:
    """A record of the attacker's making."""
    submission = new_submission(study, "local", [[make_task().id]], study.path).model_copy(update=fields)
    attacker("tee", record_path(study, submission), stdin=submission.model_dump_json())


def test_no_process_is_ended_for_a_record_of_another_users(attacker, study: Study) -> None:
    victim = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    plant(attacker, study, pid=victim.pid, host=socket.gethostname(), began=process_began(victim.pid))
    with pytest.raises(ToolkitError, match="was not written by the owner of process"):
        cancel(str(study.path))
    assert victim.poll() is None
    victim.communicate(b"\n")


@pytest.mark.cluster
def test_no_job_is_cancelled_for_a_record_of_another_users(
    attacker, study: Study, small_data: Path, cluster, tmp_path: Path
) -> None:
    """The attacker names a job of the victim's other study: its id and its name are there for all to see."""
    profile = tmp_path / "profile.toml"
    profile.write_text("cpus = 1\ntime_min = 5\n")
    what = ["--array", "3", "--dataset", "tiny", "--set", "epochs=2000", "--executor", "slurm", "--profile", profile]
    (job,) = launch(tmp_path / "other", small_data, *what)["jobs"]
    (named,) = submissions(Study(tmp_path / "other"))
    plant(attacker, study, executor="slurm", job=job, name=named.name)
    with pytest.raises(ToolkitError, match=f"was not written by the owner of job {job}"):
        cancel(str(study.path))
    assert job in cluster.slurm("squeue", "--noheader", "--format=%A").stdout
    assert cancel(str(tmp_path / "other"))["jobs"] == [job]
    wait_for(lambda: job not in cluster.slurm("squeue", "--noheader", "--format=%A").stdout, 60, "the end of the job")


def test_a_script_that_was_changed_in_a_shared_folder_is_not_what_sbatch_reads(
    attacker, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An sbatch that lets the attacker in before it reads; the real one is as slow on a bad day."""
    program = tmp_path / "sbatch"
    program.write_text(
        "#!/bin/sh\n"
        f"setpriv --reuid=$(id -u {NAME}) --clear-groups sh -c 'cd {study.room('logs')} && "
        "rm -f *.sbatch && echo an attacker was here >name.sbatch; "
        'echo an attacker was here >"$0"\' "$2" 2>/dev/null\n'
        f'cat "$2" >{tmp_path}/read; echo 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert JobArray(Profile(), HOST, "name", study.room("logs"), ("-m", "x"), 1, 1).submit() == "1"
    assert "attacker" in (study.room("logs") / "name.sbatch").read_text()
    script = (tmp_path / "read").read_text()
    assert "srun" in script and "attacker" not in script
    assert "submitit.core" not in script  # which would run a pickle that lies beside the logs
    assert {path.suffix for path in study.room("logs").iterdir()} == {".sbatch"}


CACHED = """
import numba
from toolkit.compiled import compiled

@compiled
def f(x):
    return x + 1

print(f.stats.cache_path)
"""


def cache_used(folder: Path, source: Path) -> tuple[str, str]:
    """Where a function in ``source`` keeps its machine code, and what was said."""
    source.write_text(CACHED)
    around = {**environment(), "NUMBA_CACHE_DIR": str(folder)}
    done = subprocess.run([sys.executable, source], env=around, capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr


def test_compiled_code_is_not_taken_from_another_users_folder(attacker, shared: Path, tmp_path: Path) -> None:
    """numba's index is a pickle: whoever writes it runs code in this process."""
    theirs = shared / "numba"
    attacker("mkdir", theirs)
    where, said = cache_used(theirs, tmp_path / "f.py")
    assert str(shared) not in where and "is not used (others may write there)" in said
    (tmp_path / "own").mkdir(mode=0o700)
    where, said = cache_used(tmp_path / "own", tmp_path / "f.py")
    assert where.startswith(str(tmp_path / "own")) and not said


class Payload:
    """What runs code when a pickle is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


def test_weights_in_a_shared_cache_run_no_code(tmp_path: Path) -> None:
    """TORCH_HOME of a group: torchvision reads what lies there as a pickle of any kind."""
    cache, mark = tmp_path / "hub" / "checkpoints", tmp_path / "attacked"
    cache.mkdir(parents=True)
    (cache / "mobilenet_v3_small-047dcff4.pth").write_bytes(pickle.dumps({"weight": Payload(mark)}, 2))
    asked = {"nets": ["torchvision/mobilenet_v3_small"], "texts": {}, "file": None, "out": str(tmp_path), "version": 1}
    command = [sys.executable, "-m", "toolkit.anynet.pretrained"]
    around = {**environment(), "TORCH_HOME": str(tmp_path)}
    done = subprocess.run(command, input=json.dumps(asked), env=around, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "cannot be loaded" in done.stderr and not mark.exists()


def test_a_link_of_another_users_is_not_bound_into_the_image(attacker, shared: Path, tmp_path: Path) -> None:
    (shared / "own").symlink_to(tmp_path)
    (tmp_path / "secrets").mkdir()
    attacker("ln", "-s", tmp_path / "secrets", shared / "theirs")
    bound = folders([shared])
    assert tmp_path in bound and tmp_path / "secrets" not in bound


def test_launch_options_of_another_users_making_are_not_recalled(attacker, study: Study, caplog) -> None:
    options = {"version": 1, "profile": "/x", "profile_keys": {"setup": ["touch /tmp/attacked"]}}
    attacker("tee", study.path / "launch.json", stdin=json.dumps(options))
    with caplog.at_level(logging.INFO):
        assert LaunchMemory.of(study).profile_keys == {}
    assert "can be written by others" in caplog.text


def test_a_strangers_repository_puts_no_file_of_the_users_into_a_result(attacker, shared: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    git = shared / "code" / ".git"
    attacker("mkdir", "-p", git)
    attacker("tee", git / "HEAD", stdin=f"ref: {os.path.relpath(tmp_path / 'secret', git)}\n")
    assert revision_of(shared / "code") is None
    attacker("rm", git / "HEAD")
    attacker("mkfifo", git / "HEAD")
    assert revision_of(shared / "code") is None
    shutil.rmtree(git)
    attacker("mkfifo", git)
    assert revision_of(shared / "code") is None


@pytest.mark.parametrize("action", ["start", "status", "stop"])
def test_no_cluster_lives_in_a_folder_of_another_users(attacker, shared: Path, action: str) -> None:
    """Whoever wrote the folder would know the key, name the processes that root ends, and the plugins that it loads."""
    state = shared / "slurm"
    attacker("mkdir", state)
    attacker("touch", state / "munge.key")
    victim = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    attacker("tee", state / "munged.pid", stdin=str(victim.pid))
    if action != "start":
        attacker("touch", state / "slurm.conf")
    command = [sys.executable, "slurm/cluster.py", action, "--state", state]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "is not a folder that you alone can write to" in done.stderr
    assert (state / "munge.key").stat().st_size == 0 and victim.poll() is None
    victim.communicate(b"\n")
