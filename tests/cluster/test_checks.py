"""The doctor's findings by what Slurm, the folders, the image and a node answer; and the notes on broken nodes."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.cluster import brake, checks, kernels
from toolkit.cluster.checks import Finding, examine, gpu_finding
from toolkit.cluster.kernels import Kernels, promised, try_kernels
from toolkit.cluster.profile import Profile
from toolkit.cluster.versions import TRAINING, versions

StandsIn = Callable[[str, str], Path]
CONFIG = "MaxArraySize = {size}\\nMaxJobCount = 10\\nSLURM_VERSION = 23.11\\nPreemptMode = {preempt}\\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("b", "a"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "dataset.json").touch()
    (tmp_path / "data" / "none").mkdir()
    return tmp_path / "data"


@pytest.fixture
def slurm(stands_in: StandsIn, monkeypatch: pytest.MonkeyPatch) -> StandsIn:
    """A cluster of answers, on a machine without a GPU."""
    monkeypatch.setattr(checks, "try_kernels", lambda: Kernels([], []))
    for name in ("sbatch", "squeue", "srun", "scancel"):
        stands_in(name, "exit 9")
    stands_in("scontrol", f"printf '{CONFIG.format(size=1001, preempt='OFF')}'")
    stands_in("sinfo", "echo gpu; echo main")
    stands_in("sacctmgr", "echo 50")
    return stands_in


def found(profile: Profile, data: Path, wait_s: float = 0) -> dict[str, tuple[bool, str]]:
    return {finding.part: (finding.good, finding.text) for finding in examine(profile, data, wait_s)}


def test_what_is_right_is_told_too(slurm: StandsIn, data: Path) -> None:
    assert found(Profile(partition="gpu", binds=(f"{data}:/in",)), data) == {
        "slurm": (True, "MaxArraySize 1001, MaxJobCount 10, SLURM_VERSION 23.11; longer arrays are split"),
        "limit": (True, "50 of your jobs may be in the queue"),
        "partition": (True, "gpu"),
        "data": (True, f"2 datasets in {data}: a, b"),
        "bind": (True, str(data)),
        "GPU": (True, "none was promised here, or no PyTorch to ask: nothing was tried"),
    }


def test_what_is_wrong_is_told_with_what_to_do(slurm: StandsIn, tmp_path: Path) -> None:
    slurm("scontrol", f"printf '{CONFIG.format(size=0, preempt='OFF')}'")
    profile = Profile(partition="gpu,cpu,x", submit_limit=60, binds=("/no/where:/in",), image=str(tmp_path / "x.sif"))
    told = found(profile, tmp_path, wait_s=5)
    assert told.pop("slurm")[0] is False
    assert told == {
        "limit": (False, "50 of your jobs may be in the queue, the profile says 60"),
        "partition": (False, "cpu, x is none of gpu, main: change the profile"),
        "data": (False, f"no dataset in {tmp_path}: give --data or set TOOLKIT_DATA"),
        "bind": (False, "/no/where is not there: change the profile"),
        "image": (False, f"image {tmp_path}/x.sif is not there: build it (containers/build.sh), or name another"),
        "GPU": (True, "none was promised here, or no PyTorch to ask: nothing was tried"),
    }


def test_a_cluster_that_is_not_there_or_does_not_answer(
    slurm: StandsIn, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slurm("scontrol", "echo 'Unable to contact' >&2; exit 1")
    good, text = found(Profile(), data)["slurm"]
    assert (
        not good and text.startswith("scontrol show failed") and text.endswith("controller up, and SLURM_CONF right?")
    )
    for name in ("srun", "scancel"):
        (tmp_path / "bin" / name).unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    told = "srun, scancel not found: work on a login node, or load Slurm's module"
    assert found(Profile(), data)["slurm"] == (False, told)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ("x,preempt_send_user_signal", "a preempted task is warned by URG, and saves itself"),
        ("", "SlurmctldParameters=preempt_send_user_signal would let it save itself"),
    ],
)
def test_preemption_is_told_of_where_an_image_is_mounted(
    slurm: StandsIn, data: Path, parameters: str, says: str
) -> None:
    config = CONFIG.format(size=9, preempt="REQUEUE,GANG") + f"SlurmctldParameters = {parameters}\\n"
    slurm("scontrol", f"printf '{config}'")
    good, text = found(Profile(image="x.sif"), data)["preemption"]
    assert good and text.endswith(says)
    assert "preemption" not in found(Profile(), data)


def test_an_image_that_starts_is_told_with_what_differs(
    slurm: StandsIn, stands_in: StandsIn, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.sif").write_bytes(b"an image")
    profile = Profile(image=str(tmp_path / "x.sif"), apptainer=str(tmp_path / "bin" / "runs"))
    told = {**versions(()), **dict.fromkeys(TRAINING, "1"), "numpy": "0.1"}
    stands_in("runs", f"echo '{json.dumps(told)}'")
    good, text = found(profile, data)["image"]
    assert good and text == f"{tmp_path}/x.sif starts; numpy is 0.1 in the image, {versions(())['numpy']} here"


SEEN = {"host": "n1", "cores": 4, "datasets": ["a"], "gpus": "0", "round_trip": ""}


def job(slurm: StandsIn, data: Path, profile: Profile, script: str, wait_s: float = 60) -> dict[str, tuple[bool, str]]:
    slurm("srun", script)
    told = found(profile, data, wait_s)
    return {
        part: finding for part, finding in told.items() if part in ("job", "data on node", "GPU on node", "training")
    }


def test_a_job_tells_what_its_node_saw(slurm: StandsIn, data: Path, tmp_path: Path) -> None:
    profile = Profile(
        partition="gpu", account="a", qos="q", constraint="c", exclude="n9", gres="gpu:1", gpus=2, cpus=3,
        sbatch={"gpus-per-task": 1, "nice": 5}, python="py",
    )  # fmt: skip
    document = SEEN | {"kernels": Kernels(["cuda:0 (card)"], [])._asdict()}
    told = job(slurm, data, profile, f"echo a banner; echo '{json.dumps(document)}'")
    assert told == {
        "job": (True, "ran on n1 with 4 cores, GPUs: 0"),
        "data on node": (True, f"1 datasets in {data}, seen from n1"),
        "GPU on node": (True, "a product equals the CPU's on cuda:0 (card)"),
        "training": (True, "wrote a dataset, read it by FFCV and trained on it"),
    }
    (asked,) = (tmp_path / "bin" / "srun.calls").read_text().splitlines()
    options = "--partition=gpu --account=a --qos=q --constraint=c --exclude=n9 --gres=gpu:1 --gpus-per-node=2"
    options += " --cpus-per-task=3 --ntasks=1 --time=5 --job-name=toolkit-doctor --gpus-per-task=1"
    assert asked == f"--quiet {options} py -m toolkit.cluster.node_check {data}"


def test_a_node_on_which_nothing_works(slurm: StandsIn, data: Path) -> None:
    document = SEEN | {"datasets": [], "gpus": "", "round_trip": "no FFCV", "kernels": Kernels([], [])._asdict()}
    told = job(slurm, data, Profile(gpus=1), f"echo '{json.dumps(document)}'")
    assert told == {
        "job": (True, "ran on n1 with 4 cores, GPUs: none"),
        "data on node": (False, f"0 datasets in {data}, seen from n1"),
        "GPU on node": (False, "the profile asks for a GPU, and the node shows none: see gpus, gres, constraint"),
        "training": (False, "no FFCV"),
    }


@pytest.mark.parametrize(
    ("script", "wait_s", "says"),
    [
        ("echo one >&2; echo 'no such partition' >&2; exit 1", 60, "it failed: no such partition"),
        ("exit 1", 60, "it failed: without a word"),
        ("exec sleep 5", 0.2, "no node within 0 s: give a longer --wait, or another partition"),
    ],
)
def test_a_job_that_does_not_run(slurm: StandsIn, data: Path, script: str, wait_s: float, says: str) -> None:
    assert job(slurm, data, Profile(), script, wait_s) == {"job": (False, says)}


def test_a_finding_is_a_document() -> None:
    assert Finding("a", True, "b").document() == {"part": "a", "good": True, "text": "b"}
    trouble = gpu_finding(Kernels(["cuda:0"], ["n1, cuda:1: bad", "n1, cuda:2: bad"]), asked=True)
    assert trouble == Finding("GPU", False, "n1, cuda:1: bad; n1, cuda:2: bad")


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ('echo banner; echo \'{"right": ["cuda:0"], "trouble": []}\'', Kernels(["cuda:0"], [])),
        ("echo one >&2; echo 'no library' >&2; exit 3", "but the try of its GPUs broke: no library"),
        ("exit 3", "but the try of its GPUs broke: status 3"),
        ("exec sleep 5", "but a product on its GPUs took longer than 0.2 s"),
    ],
)
def test_gpus_are_tried_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, told: Any
) -> None:
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\n[ "$*" = "-m toolkit.training.kernels" ] || exit 7\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setattr(kernels.sys, "executable", str(program))
    monkeypatch.setattr(kernels, "KERNELS_S", 0.2 if "sleep" in script else 60)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    found = try_kernels()
    if isinstance(told, str):
        assert found.right == [] and found.trouble[0].endswith(f"has CUDA_VISIBLE_DEVICES=1, {told}")
    else:
        assert found == told
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert try_kernels() == Kernels([], [])


def test_what_promises_a_gpu() -> None:
    node = os.uname().nodename
    assert promised({"SLURM_JOB_GPUS": "0,1"}, True) == f"Slurm gave this job the GPUs 0,1 of {node}"
    assert promised({}, True) == f"{node} has NVIDIA's driver"
    assert promised({"CUDA_VISIBLE_DEVICES": "void", "SLURM_JOB_GPUS": "0"}, True) is None


def test_nodes_with_three_early_ends_are_left_out_for_a_day(tmp_path: Path) -> None:
    folder, now = tmp_path / "nodes", time.time()
    assert brake.strikes(folder) == {} and brake.described(folder) == ""
    folder.mkdir()
    (folder / "n1").write_text("7 0 1\n7 3 9\nhalf a\n7 x 1\n8 4 1\n")
    (folder / "n2").write_text("7 1 1\n7 2 1\n")
    (folder / ".hidden").write_text("7 1 1\n" * 5)
    (folder / "n3").write_text("9 1 1\n" * 3)
    (folder / "n4").mkdir()
    ends = {"n1": [("7", 0), ("7", 3), ("8", 4)], "n2": [("7", 1), ("7", 2)], "n3": [("9", 1)] * 3}
    assert brake.strikes(folder) == ends | {"n4": []}
    assert brake.described(folder) == (
        "n1 (3 elements ended early: logs/8_4_0_log.out), n3 (3 elements ended early: logs/9_1_0_log.out)"
    )
    os.utime(folder / "n3", (now, now - 24 * 3600 + 60))
    assert brake.broken_nodes(folder, now) == ["n1", "n3"]
    assert brake.broken_nodes(folder, now + 120) == ["n1"]
    (folder / "n4").rmdir()
    brake.forget(folder)
    assert [path.name for path in folder.iterdir()] == [".hidden"]


def test_the_brake_leaves_out_what_the_profile_does_too(tmp_path: Path) -> None:
    lines = "\n".join(brake.lines(tmp_path / "it's", "n[1-3],n7"))
    assert "; echo 'n[1-3],n7'; }" in lines and "it'\"'\"'s" in lines
    assert "echo n" not in "\n".join(brake.lines(tmp_path))
