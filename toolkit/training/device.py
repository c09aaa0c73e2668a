"""The processor that computes, and a batch's way onto it."""

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.errors import ToolkitError
from toolkit.study.dataset import Manifest
from toolkit.training.loader import Batch


def choose() -> torch.device:
    """The first GPU that this process sees (its own, where torchrun started several), else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    torch.cuda.set_device(device)
    return device


def check_gpu() -> None:
    """Refuse to train on the CPU what was given a GPU. Raises `ToolkitError` that names node and driver."""
    if torch.cuda.is_available():
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    driver = Path("/proc/driver/nvidia/version")
    raise ToolkitError(
        f"no GPU is visible on node {platform.node()} although the profile asks for one (CUDA_VISIBLE_DEVICES "
        f"{visible!r}, driver {driver.read_text().splitlines()[0] if driver.is_file() else 'not loaded'}, torch built "
        f"for CUDA {torch.version.cuda}): leave that node out (exclude), or mend its driver; toolkit.doctor looks"
    )


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
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor
