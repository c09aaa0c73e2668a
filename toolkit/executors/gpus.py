"""Which GPUs of this machine its workers may use."""

import os
import re
import socket
import subprocess

from toolkit.errors import ToolkitError

NVIDIA_SMI_S = 60.0
"""Seconds that nvidia-smi may take: without persistence mode it starts every card first."""
SLICE = re.compile(r"\s+MIG .*UUID: (MIG-[^)]+)\)")
CPU = "to train on the CPU, set CUDA_VISIBLE_DEVICES to nothing"


def gpus() -> list[str]:
    """Names that CUDA_VISIBLE_DEVICES may list: those it lists already, else what Slurm gave, else all of the machine.

    A card that is cut up (MIG) is named by its slices. Raises `ToolkitError` when nvidia-smi is there and fails.
    """
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in given.split(",") if name]
    try:
        told = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=NVIDIA_SMI_S, check=False)
    except FileNotFoundError:
        return []
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolkitError(f"on {socket.gethostname()}: nvidia-smi -L failed ({error}); {CPU}") from error
    if told.returncode and "No devices" not in told.stdout + told.stderr:
        said = " ".join((told.stdout + told.stderr).split())
        raise ToolkitError(
            f"on {socket.gethostname()}: nvidia-smi -L failed with status {told.returncode} ({said}); {CPU}"
        )
    return granted(listed(told.stdout), os.environ.get("SLURM_JOB_GPUS"))


def listed(listing: str) -> list[str]:
    """The devices of ``nvidia-smi -L``: a whole card by its number, a cut-up one by the UUIDs of its slices."""
    cards: list[tuple[str, list[str]]] = []
    for line in listing.splitlines():
        if card := re.match(r"GPU (\d+):", line):
            cards.append((card[1], []))
        elif cards and (slice_ := SLICE.match(line)):
            cards[-1][1].append(slice_[1])
    return [name for number, slices in cards for name in slices or [number]]


def granted(seen: list[str], job: str | None) -> list[str]:
    """Those of the GPUs ``seen`` that are the job's own; ``job``: the machine's numbers for them, as Slurm lists them.

    Where Slurm hides the GPUs of other jobs, what is seen is the job's, numbered anew. Raises `ToolkitError` where the
    numbers do not tell: they count cards here, and where one is cut up, Slurm may count slices.
    """
    given = job.split(",") if job else seen
    if len(given) >= len(seen):
        return seen
    if not set(given) <= set(seen) or not all(map(str.isdigit, seen)):
        told = f"Slurm gave this job the GPUs {job}, and nvidia-smi lists {', '.join(seen)}"
        raise ToolkitError(f"on {socket.gethostname()}: {told}: name the job's own in CUDA_VISIBLE_DEVICES")
    return [name for name in seen if name in given]
