"""An array element with several GPUs: a process for each, and its tasks shared out. Here on processors."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.executors.conftest import ROOT, environment, verb
from tests.training.betons import write_dataset
from toolkit.cluster.profile import Profile
from toolkit.errors import ToolkitError
from toolkit.executors import gpus as gpus_module
from toolkit.executors.side_by_side import joined, run_side_by_side
from toolkit.launching.tasks import make_elements
from toolkit.study import Recipe, Study, Task
from toolkit.study.submission import Submission, new_submission, record_path
from toolkit.training.stop import StopFlag

ELEMENT = [sys.executable, "-m", "toolkit.executors.element"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "data" / "stripes")
    return tmp_path / "data"


@pytest.fixture
def record(tmp_path: Path, data: Path) -> Path:
    """Three tasks in one element of a study, which asked for GPUs."""
    study = Study.create(tmp_path / "it's a study")
    what = {
        "dataset": "stripes",
        "dataset_hash": "hash-of-stripes",
        "recipe": Recipe(epochs=1, batch=16, resolution=16),
    }
    tasks = [Task(architecture=f"anynetx-500/{i}", **what) for i in (17, 3, 1)]
    study.declare(tasks)
    submission = new_submission(study, "slurm", [[task.id for task in tasks]], data, gpus=True)
    submission.write(record_path(study, submission))
    return record_path(study, submission)


def test_each_process_has_one_gpu_and_its_own_end_is_the_elements(record: Path) -> None:
    """There is no GPU here, so each process tells in one line which one it was given, and ends as one alone would."""
    own = {**environment(), "CUDA_VISIBLE_DEVICES": "3,MIG-x", "SLURM_ARRAY_TASK_ID": "0"}
    done = subprocess.run([*ELEMENT, str(record)], env=own, capture_output=True, text=True, check=False)
    assert done.returncode == os.EX_UNAVAILABLE, done.stderr
    said = done.stderr.strip().splitlines()
    assert len(said) == 2 and all("no GPU is visible" in line for line in said)
    assert all(sum(f"CUDA_VISIBLE_DEVICES '{name}'" in line for line in said) == 1 for name in ("3", "MIG-x"))


def test_every_task_is_trained_by_one_of_the_processes(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Submission.read(record).model_copy(update={"gpus": False}).write(record)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert run_side_by_side([*ELEMENT, str(record)], ["", ""], StopFlag()) == 0
    study = Study(record.parent.parent)
    results = [study.result(task) for task in study.tasks()]
    assert len(results) == 3 and all(result and result.status in ("done", "diverged") for result in results)
    pids = [progress.pid for task in study.tasks() if (progress := study.progress(task))]
    assert sorted(map(pids.count, set(pids))) == [1, 2]


def test_a_request_to_stop_reaches_all_and_the_element_is_queued_again() -> None:
    stop = StopFlag()
    stop.set("a test")
    waits = "trap 'exit 75' TERM; while :; do sleep 0.1; done"
    assert run_side_by_side(["sh", "-c", waits], ["0", "1"], stop) == os.EX_TEMPFAIL


def test_a_process_that_breaks_does_not_end_its_neighbours(tmp_path: Path) -> None:
    breaks = f'if [ "$0" = 0 ]; then kill -9 $$; fi; sleep 0.3; : > "{tmp_path}/$CUDA_VISIBLE_DEVICES of $1"'
    assert run_side_by_side(["sh", "-c", breaks], ["4", "MIG-x"], StopFlag()) == 128 + signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == ["MIG-x of 2"]


@pytest.mark.parametrize(
    ("statuses", "status"),
    [((0, 0), 0), ((0, 3), 3), ((3, 69), 69), ((0, 1), 1), ((75, 3), 75), ((-9, 75), 75), ((0, -15), 143)],
)
def test_one_status_for_all(statuses: tuple[int, ...], status: int) -> None:
    assert joined(statuses) == status


def test_only_the_jobs_own_gpus_are_used() -> None:
    assert gpus_module.granted(["0", "1", "2", "3"], "2,3") == ["2", "3"]
    assert gpus_module.granted(["0", "1"], "2,3") == ["0", "1"]  # Slurm hides the others, and CUDA counts anew
    assert gpus_module.granted(["0", "1"], None) == ["0", "1"]
    assert gpus_module.granted(["MIG-x", "MIG-y"], None) == ["MIG-x", "MIG-y"]
    for seen, job in ((["MIG-x", "MIG-y", "1"], "1"), (["0", "1"], "2")):
        with pytest.raises(ToolkitError, match=f"the GPUs {job}, and nvidia-smi lists .*1: .*CUDA_VISIBLE_DEVICES"):
            gpus_module.granted(seen, job)


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({}, 0),
        ({"gpus": 4}, 4),
        ({"gres": "gpu:4"}, 4),
        ({"gres": "nvme:9,gpu:a100:2(S:0)"}, 2),
        ({"gres": "gpu:1g.5gb:3"}, 3),
        ({"gres": "gpu"}, 1),
        ({"gres": "shard:8"}, 1),
        ({"sbatch": {"gpus-per-task": 2}}, 2),
        ({"sbatch": {"gpus": "h100:8"}}, 8),
        ({"sbatch": {"tres-per-task": "cpu:8,gres/gpu:h100=2"}}, 2),
    ],
)
def test_how_many_gpus_a_profile_asks_for(fields: dict, count: int) -> None:
    assert Profile(**fields).gpu_count == count


def test_an_element_holds_a_pack_for_each_gpu() -> None:
    shared = {"dataset": "a", "dataset_hash": "a", "recipe": Recipe()}
    tasks = {t.id: t for t in (Task(architecture=f"anynetx-500/{i}", **shared) for i in range(20))}
    assert [len(element) for element in make_elements(tasks, gpus=4)] == [4] * 5
    assert [len(element) for element in make_elements(tasks, pack=2, gpus=4)] == [8, 8, 4]
    assert [len(element) for element in make_elements(tasks, per_job=1, gpus=4)] == [1] * 20


@pytest.mark.cluster
def test_a_dry_run_tells_of_gpus_with_nothing_to_do(cluster: object, data: Path, tmp_path: Path) -> None:
    """This cluster has no GPUs, and says so next."""
    profile = tmp_path / "profile.toml"
    profile.write_text("cpus = 1\ngres = 'gpu:4'\n")
    what = ["--array", "0-5", "--dataset", "stripes", "--executor", "slurm", "--profile", profile, "--dry-run"]
    said = verb("toolkit.launch", "--study", tmp_path / "study", "--data", data, *what).stderr
    assert "1 of 2 elements have fewer tasks (2) than GPUs (4)" in said
