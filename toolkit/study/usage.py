"""Usage: what a task used of what was asked for it, as its own process saw it; no accounting of Slurm's is needed."""

from toolkit.study.model import FrozenModel


class Usage(FrozenModel):
    """Of the process that trained the task, from the beginning of the task's last run. Nets of a pack share it."""

    seconds: float
    """Wall time that it covers."""
    cpu_s: float
    """Processor time, all threads."""
    cpus: int
    """Cores of the allocation."""
    memory_gb: float
    """Most memory seen (sampled with the heartbeat; pages of mapped files, which the kernel can drop, do not count).
    GB are 2^30 bytes, as in a profile."""
    memory_asked_gb: float | None = None
    """What Slurm was asked for; None: nothing, or no Slurm."""
    gpus: int = 0
    gpu_use: float | None = None
    """Share of the time in which kernels ran, mean over GPUs and samples; None where nvidia-smi does not tell."""
    gpu_memory_gb: float | None = None
    """Most memory seen on one GPU."""
    gpu_watts: float | None = None
    """Mean power of all its GPUs together."""
