"""Progress: the heartbeat that a running task leaves for `toolkit.status`."""

from typing import Literal

from toolkit.study.model import FrozenModel
from toolkit.study.usage import Usage

HEARTBEAT_S = 10.0
"""A running task rewrites its progress at least this often (seconds)."""
LOST_AFTER_S = 45.0
"""A heartbeat older than this is a task that died without a word (kill -9, node gone)."""


class Progress(FrozenModel):
    """Where a task is. Written by the task itself, atomically, often; never the truth of its outcome."""

    phase: Literal["starting", "training", "evaluating", "preempted", "paused"]
    """paused: trained as far as its launch asked for (``--halving``), and saved."""
    epoch: int
    """Epochs finished."""
    epochs: int
    step: int = 0
    """Batches finished within the epoch."""
    steps: int = 0
    images_per_s: float | None = None
    seconds_left: float | None = None
    error: float | None = None
    """Latest validation error of the dataset's metric, as a share (0..1)."""
    updated: float
    """Unix time in seconds."""
    host: str
    pid: int
    job: str | None = None
    """Slurm's job id with array index (``123_4``), where there is one."""
    restarts: int = 0
    usage: Usage | None = None
    """What was used up to now; None: an earlier version's."""
