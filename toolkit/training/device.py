"""The processor that computes, and a batch's way onto it."""

import os
import platform
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from toolkit.cluster.kernels import DRIVER, promised
from toolkit.errors import ToolkitError
from toolkit.imagefile.format import Pixels
from toolkit.study.dataset import Manifest
from toolkit.training.loader import Batch

Arithmetic = Literal["float32", "tf32", "bfloat16"]


def choose(rank: int = 0) -> torch.device:
    """The GPU of this rank; the CPU where no GPU was asked for.

    Raises `ToolkitError` when one was asked for and PyTorch does not see it: a CPU in its place takes weeks.
    """
    if not torch.cuda.is_available():
        if promise := promised(os.environ, DRIVER.is_file()):
            raise no_gpu(promise)
        return torch.device("cpu")
    if rank >= torch.cuda.device_count():
        seen = torch.cuda.device_count()
        raise ToolkitError(f"rank {rank} has no GPU of its own: {socket.gethostname()} shows {seen}; take fewer ranks")
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    device = torch.device("cuda", rank)
    torch.cuda.set_device(device)
    return device


def arithmetic(kind: str, precision: str) -> Arithmetic:
    """How a device of a ``kind`` computes products for a recipe's ``precision``: `choose` lets a GPU take TF32."""
    if kind != "cuda":
        return "float32"
    return "bfloat16" if precision == "bfloat16" else "tf32"


CPU = "to train on the CPU, set CUDA_VISIBLE_DEVICES to nothing"


def driver() -> str:
    """The loaded NVIDIA driver, in words."""
    if not DRIVER.is_file():
        return "no NVIDIA driver is loaded"
    found = re.search(r"\s(\d+\.[\d.]+)\s", DRIVER.read_text())
    return f"driver {found[1] if found else 'of an unknown version'}"


def _wheel() -> str:
    cuda = torch.version.cuda
    return f"torch {torch.__version__} {f'needs a driver for CUDA {cuda}' if cuda else 'is built without CUDA'}"


def check_gpu() -> None:
    """Refuse to train on the CPU what was given a GPU. Raises `ToolkitError` that names node and driver."""
    if not torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        asked = f"the profile asks for a GPU, and no GPU is visible on node {socket.gethostname()}"
        advice = "leave that node out (exclude), or mend its driver (toolkit.doctor looks)"
        raise no_gpu(f"{asked} (CUDA_VISIBLE_DEVICES {visible!r}): {advice}")


def no_gpu(promise: str) -> ToolkitError:
    """The error of a GPU that was promised and that PyTorch does not see; it names node, driver and wheel."""
    return ToolkitError(f"{promise}, but PyTorch sees no GPU ({driver()}; {_wheel()}); {CPU}")


def not_computing(device: torch.device, why: str) -> str:
    """One line of a GPU that is seen and does not compute, with node, driver and wheel."""
    return f"{socket.gethostname()}, {device}: {why} ({driver()}; {_wheel()})"


def pinned(shape: Sequence[int]) -> Pixels:
    """Page-locked memory for bytes, from PyTorch's caching host allocator.

    It knows a block by its address, also in a view of numpy's, and gives it out again only when the copies from it have
    ended (`record_event` in ATen's CachingHostAllocator.h): so batches that are decoded ahead go round in a few blocks.
    """
    memory: Pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()
    return memory


def describe(device: torch.device) -> str:
    """Its model name, with the number of threads on a CPU."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


class DeviceTransfer:
    """Puts batches on the device as bytes and normalises them there, by the dataset's mean and deviation."""

    def __init__(self, manifest: Manifest, device: torch.device) -> None:
        self.device = device
        mean, std = np.array(manifest.mean), np.array(manifest.std)
        self._scale = self._channels(1 / (255 * std))
        self._shift = self._channels(-mean / std)

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images (batch, 3, side, side), float32, channels last in memory; labels (batch,), int64."""
        images = self._moved(batch.images).permute(0, 3, 1, 2).float()
        return torch.addcmul(self._shift, images, self._scale), self._moved(batch.labels)

    def _channels(self, values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.device).view(1, 3, 1, 1)

    def _moved(self, array: Any) -> Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(self.device, non_blocking=True)
        return tensor
