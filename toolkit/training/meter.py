"""What this process uses, measured while it trains: processor time, memory, and what NVML says of its GPUs."""

import os
import resource
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from toolkit.study.usage import Usage

GIB = 2**30
GPU_EVERY_S = 30.0
"""Seconds between two looks at the GPUs (our choice: nvidia-smi takes a tenth of a second of another core)."""
NVIDIA_SMI_S = 10.0
"""Seconds that a look may take: the heartbeat waits for it."""
QUERY = ("utilization.gpu", "memory.used", "power.draw")


class GpuSample(NamedTuple):
    """One look at all GPUs of the process."""

    use: float
    """Mean share of time in which kernels ran, 0..1."""
    memory_gb: float
    """Of the fullest."""
    watts: float
    """All together."""


class Meter:
    """Measures from when it is made; `sample` is called now and then by the heartbeat's thread."""

    def __init__(self, gpus: int = 0) -> None:
        """``gpus``: how many the process trains on."""
        self.gpus = gpus
        self._began, self._cpu = time.monotonic(), _cpu_seconds()
        self._memory = 0.0
        self._gpu_samples: list[GpuSample] = []
        self._gpu_due = self._began + GPU_EVERY_S / 3
        self.sample()

    def sample(self) -> None:
        """Look at the memory, and every `GPU_EVERY_S` at the GPUs; where they cannot be asked they are left out."""
        self._memory = max(self._memory, _own_memory())
        if self.gpus and time.monotonic() > self._gpu_due:
            self._gpu_due = time.monotonic() + GPU_EVERY_S
            found = gpu_sample()
            self._gpu_samples += [found] if found else []

    def usage(self) -> Usage:
        """What was used up to now."""
        self._memory = max(self._memory, _own_memory())
        seen = self._gpu_samples
        mean = [sum(values) / len(seen) for values in zip(*seen, strict=True)] if seen else [None, None, None]
        return Usage(
            seconds=time.monotonic() - self._began,
            cpu_s=_cpu_seconds() - self._cpu,
            cpus=_cpus(),
            memory_gb=self._memory / GIB,
            memory_asked_gb=_memory_asked(),
            gpus=self.gpus,
            gpu_use=mean[0],
            gpu_memory_gb=max((sample.memory_gb for sample in seen), default=None),
            gpu_watts=mean[2],
        )


def gpu_sample() -> GpuSample | None:
    """What NVML says, by nvidia-smi, of the GPUs that CUDA_VISIBLE_DEVICES names (else all); None: it does not tell."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    which = [f"--id={visible}"] if visible else []
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits", *which]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=NVIDIA_SMI_S, check=True)
        rows = [[float(cell) for cell in line.split(",")] for line in told.stdout.splitlines()]
        use, memory, watts = zip(*rows, strict=True)
    except (OSError, subprocess.SubprocessError, ValueError):  # a slice of a card (MIG) has no use of its own
        return None
    return GpuSample(sum(use) / len(use) / 100, max(memory) / 1024, sum(watts))


def _cpu_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _own_memory() -> float:
    """Bytes that only this process's end would give back: anonymous and shared memory."""
    status = Path("/proc/self/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return sum(float(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))


def _cpus() -> int:
    return int(os.environ.get("SLURM_CPUS_PER_TASK", 0)) or len(os.sched_getaffinity(0))


def _memory_asked() -> float | None:
    """GiB of the job; Slurm's variables count MiB."""
    if each := os.environ.get("SLURM_MEM_PER_CPU"):
        return int(each) * _cpus() / 1024
    whole = int(os.environ.get("SLURM_MEM_PER_NODE", 0))
    return whole / 1024 if whole else None
