"""Whether a GPU was promised to this process, and whether one computes: asked of PyTorch in a process of its own."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

DRIVER = Path("/proc/driver/nvidia/version")
"""There when the kernel has loaded NVIDIA's driver."""
NONE = ("", "-1", "none", "void", "NoDevFiles")
"""Values of CUDA_VISIBLE_DEVICES that name no device."""
KERNELS_S = 120
"""Seconds that all GPUs of a node have for one product each; a broken one may hang."""


class Kernels(NamedTuple):
    """What came of computing on each visible GPU."""

    right: list[str]
    """GPUs whose product was the CPU's."""
    trouble: list[str]
    """A line for each other one, with node, driver and wheel."""


def promised(environment: Mapping[str, str], driver: bool) -> str | None:
    """What says that this process computes on a GPU; None where nothing does, or the CPU was asked for."""
    node = socket.gethostname()
    if (visible := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        return None if visible in NONE else f"{node} has CUDA_VISIBLE_DEVICES={visible}"
    if granted := environment.get("SLURM_JOB_GPUS"):
        return f"Slurm gave this job the GPUs {granted} of {node}"
    return f"{node} has NVIDIA's driver" if driver else None


def try_kernels() -> Kernels:
    """Compute on every GPU of this process; on none, at no cost, where none was promised or PyTorch is missing."""
    promise = promised(os.environ, DRIVER.is_file())
    if promise is None or find_spec("torch") is None:
        return Kernels([], [])
    command = [sys.executable, "-m", "toolkit.training.kernels"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=KERNELS_S, check=False)
    except subprocess.TimeoutExpired:
        return Kernels([], [f"{promise}, but a product on its GPUs took longer than {KERNELS_S} s"])
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        return Kernels([], [f"{promise}, but the try of its GPUs broke: {said}"])
    return Kernels(**json.loads(done.stdout.splitlines()[-1]))
