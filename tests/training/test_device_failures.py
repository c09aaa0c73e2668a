"""Errors of a GPU, forced on a CPU: what they cost, and that a GPU that is missing is said."""

import gc
import os
import re
import socket
import weakref

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.training.conftest import TINY, changed
from toolkit.cluster import checks
from toolkit.cluster.kernels import Kernels, try_kernels
from toolkit.cluster.profile import Profile
from toolkit.errors import ToolkitError, UsageError
from toolkit.executors import gpus as gpus_module
from toolkit.launching.reconcile import make_plan
from toolkit.launching.request import LaunchRequest
from toolkit.study import find_dataset
from toolkit.train import exit_status, main, train
from toolkit.training import device, kernels
from toolkit.training.device import DeviceTransfer, promised
from toolkit.training.kernels import try_devices
from toolkit.training.loader import Batch
from toolkit.training.trainer import ErrorCounter, Trainer
from toolkit.ways import WAYS

NETS = ("anynetx-500/17", "anynetx-500/3", "anynetx-500/1")
ILLEGAL = "CUDA error: an illegal memory access was encountered"


@pytest.mark.parametrize("error", [RuntimeError(ILLEGAL), torch.AcceleratorError(ILLEGAL)])
def test_a_broken_device_fails_one_task_and_interrupts_the_rest(study, declare, data, monkeypatch, error):
    tasks = [declare(name) for name in NETS]

    def train_batch(self, images, labels):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_batch", train_batch)
        outcome = train(study, [task.id for task in tasks], data=data, workers=1)
    assert outcome.failed == [tasks[0].id] and outcome.preempted == [task.id for task in tasks[1:]]
    assert exit_status(outcome) == 75


@pytest.mark.parametrize("short", ["moving", "learning"])
def test_no_memory_postpones_the_last_net_and_frees_it_at_once(study, declare, data, monkeypatch, capsys, short):
    """Memory is short in the second step; when the device is to give back what is free the net is gone already.

    There is no search for cycles meanwhile.
    """
    tasks = [declare(name, recipe=changed(TINY, epochs=1)) for name in NETS[:2]]
    moves, nets, left = [], {}, []
    moved, train_batch = DeviceTransfer.__call__, Trainer.train_batch

    def move(self, batch):
        moves.append(batch)
        if short == "moving" and len(moves) == 2:
            raise torch.cuda.OutOfMemoryError("no memory")
        return moved(self, batch)

    def learn(self, images, labels):
        nets.setdefault(self.task.id, weakref.ref(self.net))
        train_batch(self, images, labels)
        if short == "learning" and len(moves) == 2 and self.task.id == tasks[1].id:
            raise torch.cuda.OutOfMemoryError("no memory")

    def look():
        left.append([task_id for task_id, net in nets.items() if net() is not None])

    monkeypatch.setattr(DeviceTransfer, "__call__", move)
    monkeypatch.setattr(Trainer, "train_batch", learn)
    monkeypatch.setattr(torch.cuda, "empty_cache", look)
    gc.collect()
    gc.disable()
    try:
        outcome = train(study, [task.id for task in tasks], data=data, workers=1, pack=2)
    finally:
        gc.enable()
    assert not outcome.failed and not outcome.preempted
    assert left == [[tasks[0].id]]
    assert f"task {tasks[1].id} ({NETS[1]}) found no memory beside 1 others: later" in capsys.readouterr().err
    assert study.result(tasks[1].id).provenance.pack == 1


@pytest.mark.parametrize("pinned", [True, False])
def test_a_batch_is_pinned_once_on_its_way_to_a_gpu(pinned, data, monkeypatch):
    """Only the way is looked at, on stand-ins: there is no GPU here."""
    feed = DeviceTransfer(find_dataset("stripes", data).manifest, torch.device("cpu"))
    feed.device, copies = torch.device("cuda"), []
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: pinned)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: copies.append(tensor.numel()) or tensor)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device, non_blocking: tensor)
    images = np.full((2, 4, 4, 3), 9, np.uint8)
    moved, labels = feed(Batch(0, np.arange(2), images, np.arange(2)))
    assert moved.shape == (2, 3, 4, 4) and labels.tolist() == [0, 1]
    assert copies == ([] if pinned else [images.size, 2])


@pytest.mark.parametrize("way", WAYS)
def test_ways_of_a_gpu_are_for_one_gpu_alone(way, study, declare, data):
    task = declare(NETS[0])
    with pytest.raises(UsageError, match=f"--ways {way}: a GPU's"):
        train(study, [task.id], data=data, ways=[way])
    with pytest.raises(UsageError, match="leave them or --ranks out"):
        main([str(study.path), task.id, "--ranks", "2", "--ways", way])


def test_counting_errors_never_waits_for_the_device():
    """A fake tensor has no values, so every look at one raises."""
    with FakeTensorMode():
        counter = ErrorCounter.empty(4, torch.device("cpu"))
        counter.add(torch.randn(8, 4), torch.zeros(8, dtype=torch.int64))


@pytest.mark.parametrize(
    "environment, driver, named",
    [
        ({}, False, None),
        ({"CUDA_VISIBLE_DEVICES": ""}, True, None),
        ({"CUDA_VISIBLE_DEVICES": "0"}, False, "CUDA_VISIBLE_DEVICES=0"),
        ({"SLURM_JOB_GPUS": "2"}, False, "GPUs 2"),
        ({}, True, "driver"),
    ],
)
def test_what_says_that_a_gpu_was_asked_for(environment, driver, named):
    told = promised(environment, driver)
    assert told is None if named is None else named in told and socket.gethostname() in told


def test_a_gpu_that_was_asked_for_and_is_not_seen_is_an_error(monkeypatch, tmp_path):
    version = tmp_path / "version"
    version.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 2021\n")
    monkeypatch.setattr(device, "DRIVER", version)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(ToolkitError, match=rf"{re.escape(socket.gethostname())} .*driver 470\.57\.02; torch 2"):
        device.choose()


def test_float32_on_a_gpu_is_named_for_what_it_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    chosen = device.choose(rank=1)
    assert chosen == torch.device("cuda", 1)
    assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
    assert [device.arithmetic(chosen.type, precision) for precision in ("float32", "bfloat16")] == ["tf32", "bfloat16"]
    assert device.arithmetic("cpu", "bfloat16") == "float32"
    with pytest.raises(ToolkitError, match=rf"rank 2 has no GPU of its own: {re.escape(socket.gethostname())} shows 2"):
        device.choose(rank=2)


def test_a_device_that_computes_is_told_from_one_that_does_not():
    """The meta device computes nothing, and a product on it has no values to compare."""
    found = try_devices([torch.device("meta"), torch.device("cpu")])
    assert len(found.right) == 1 and found.right[0].startswith("cpu (")
    [line] = found.trouble
    assert line.startswith(socket.gethostname()) and "meta" in line and "driver" in line and "torch 2" in line


def test_a_wrong_product_is_trouble(monkeypatch):
    monkeypatch.setattr(kernels, "TOLERANCE", -1.0)
    assert "from the CPU's" in try_devices([torch.device("cpu")]).trouble[0]


def test_what_was_promised_is_tried_in_a_process_of_its_own_and_nothing_else_is(monkeypatch, data, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert try_kernels() == Kernels([], [])
    assert "nothing was tried" in checks.gpu_finding(try_kernels()).text
    assert not checks.gpu_finding(try_kernels(), asked=True).good
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("PATH", str(tmp_path))  # without Slurm
    [found] = [finding for finding in checks.examine(Profile(), data, wait_s=0) if finding.part == "GPU"]
    assert not found.good and found.text.startswith(f"{socket.gethostname()} has CUDA_VISIBLE_DEVICES=0")
    assert "driver" in found.text and "torch 2" in found.text


@pytest.mark.parametrize("script", ["echo no driver >&2; exit 9", "exec sleep 5"])
def test_an_nvidia_smi_that_fails_or_hangs_is_an_error(monkeypatch, tmp_path, script):
    fake_nvidia_smi(monkeypatch, tmp_path, script)
    monkeypatch.setattr(gpus_module, "NVIDIA_SMI_S", 0.5)
    with pytest.raises(ToolkitError, match="nvidia-smi"):
        gpus_module.gpus()


def test_a_card_that_is_cut_up_is_named_by_its_slices(monkeypatch, tmp_path):
    lines = (
        "GPU 0: NVIDIA A100 (UUID: GPU-a)\\n  MIG 3g.20gb     Device  0: (UUID: MIG-x)\\n"
        "  MIG 3g.20gb     Device  1: (UUID: MIG-y)\\nGPU 1: NVIDIA A100 (UUID: GPU-b)\\n"
    )
    fake_nvidia_smi(monkeypatch, tmp_path, f"printf '{lines}'")
    assert gpus_module.gpus() == ["MIG-x", "MIG-y", "1"]


def fake_nvidia_smi(monkeypatch, folder, script):
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_login_node_whose_nvidia_smi_fails_plans_a_launch(tmp_path, monkeypatch, data):
    """Only a local run asks how many GPUs there are here."""
    fake_nvidia_smi(monkeypatch, tmp_path, "echo 'NVIDIA-SMI has failed' >&2; exit 9")
    where = {"study": str(tmp_path / "study"), "data": str(data), "dataset": ("stripes",)}
    assert len(make_plan(LaunchRequest(array="0", executor="debug", **where)).tasks) == 1


def test_a_local_run_whose_nvidia_smi_fails_is_no_run_on_processors(tmp_path, monkeypatch, data):
    fake_nvidia_smi(monkeypatch, tmp_path, "echo 'NVIDIA-SMI has failed' >&2; exit 9")
    where = {"study": str(tmp_path / "study"), "data": str(data), "dataset": ("stripes",)}
    with pytest.raises(ToolkitError, match=rf"{re.escape(socket.gethostname())}.*NVIDIA-SMI has failed"):
        make_plan(LaunchRequest(array="0", executor="local", **where))
