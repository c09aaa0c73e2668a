from pathlib import Path

import pytest

from slurm.cluster import Cluster
from tests.executors.conftest import errors, launch, status, training, verb, wait_for
from toolkit.study import Study, Task, find_dataset, load_recipe
from toolkit.study.task import Start


def task(data: Path, architecture: str, dataset: str, *changes: str, start: Start | None = None) -> Task:
    return Task(
        architecture=architecture,
        dataset=dataset,
        dataset_hash=find_dataset(dataset, data).manifest.content_hash,
        recipe=load_recipe("smoke", dataset, changes),
        start=start,
    )


def test_what_a_transfer_starts_from_is_trained_first(data: Path, tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    source = task(data, "anynetx-500/3", "tiny", "epochs=30")  # enough to learn, and so to leave weights
    transfer = task(data, "anynetx-500/3", "other", start=Start(task=source.id, dataset="tiny"))
    study.declare([transfer, source])
    plan = launch(study.path, data, "--executor", "local", "--jobs", 2, "--pack", "auto", "--dry-run")
    assert (plan["elements"], plan["waiting"]) == (2, "1 tasks, for what they start from")
    done = launch(study.path, data, "--executor", "local", "--jobs", 2, "--pack", "auto")
    assert done["states"].keys() <= {"done", "diverged"} and len(errors(study.path)) == 2
    assert study.result(transfer.id).provenance.started > study.result(source.id).provenance.finished


def test_starts_that_nobody_trains_are_named_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.declare([task(data, f"anynetx-500/{i}", "tiny") for i in (3, 4, 5)])
    study.declare([task(data, "anynetx-500/7", "tiny", "lr=1e30")])
    assert launch(study.path, data, "--executor", "debug", "--array", "7", "--dataset", "tiny", "--set", "lr=1e30")
    call = ["--study", study.path, "--data", data, "--dataset", "other", "--executor", "debug", "--recipe", "smoke"]
    refused = verb("toolkit.launch", *call, "--array", "3-5,7", "--init-from", "tiny")
    assert refused.returncode == 2 and "of anynetx-500/3-5,7 (3 waiting, 1 diverged)" in refused.stderr
    unknown = verb("toolkit.launch", *call, "--array", "3-6", "--init-from", "tiny")
    assert unknown.returncode == 2 and "has no task there of anynetx-500/6" in unknown.stderr
    assert len(study.tasks()) == 4


@pytest.mark.cluster
def test_a_transfer_waits_for_the_jobs_that_train_what_it_starts_from(
    cluster: Cluster, data: Path, tmp_path: Path
) -> None:
    """Also over a requeue; a source that came to nothing fails its own transfer alone, in one line."""
    study, profile = tmp_path / "study", tmp_path / "profile.toml"
    profile.write_text("cpus = 1\ntime_min = 30\ngrace_s = 10\n")
    slurm = ["--executor", "slurm", "--profile", profile]
    (source,) = launch(study, data, "--array", "3", "--dataset", "tiny", "--set", "epochs=60", *slurm)["jobs"]
    held = tmp_path / "held.toml"
    held.write_text(profile.read_text() + "[sbatch]\nhold = true\n")
    hopeless = ["--array", "4", "--dataset", "tiny", "--set", "lr=1e30", "--executor", "slurm", "--profile", held]
    (other,) = launch(study, data, *hopeless)["jobs"]
    transfer = ["--array", "3-4", "--dataset", "other", "--init-from", "tiny", *slurm, "--pack", "auto"]
    submitted = launch(study, data, *transfer)
    (job,) = submitted["jobs"]
    assert submitted["elements"] == 1 and f"for what they start from: jobs {source}, {other}" in submitted["stderr"]
    cluster.slurm("scontrol", "release", other)
    wait_for(lambda: training(study), 90, "a source that trains")
    cluster.slurm("scancel", "--signal=URG", f"{source}_0")
    wait_for(lambda: "PENDING" in cluster.slurm("squeue", "-h", f"--jobs={source}", "-o%T").stdout, 60, "the requeue")
    assert cluster.slurm("squeue", "-h", f"--jobs={job}", "-o%r").stdout.strip() == "Dependency"
    wait_for(lambda: not cluster.slurm("squeue", "--noheader").stdout, 180, "the end of the transfer")
    states = status(study)
    assert states["states"].keys() <= {"done", "diverged", "failed"} and states["states"]["failed"] == 1
    (reason,) = [t["reason"] for t in states["trouble"] if t["state"] == "failed"]
    assert "diverged: NonFiniteLoss" in reason and "train it first" in reason
