"""What an error means for the net it came to, for its neighbours and for the process."""

import errno
import os
import re

import torch
import torch.distributed as dist

from toolkit.errors import ToolkitError

NO_MEMORY = re.compile(r"can't allocate memory|out of memory|_STATUS_ALLOC_FAILED")
DEVICE_LOST = re.compile(r"CUDA error: |_STATUS_EXECUTION_FAILED|_STATUS_INTERNAL_ERROR")
PARTNER_LOST = re.compile(r"gloo|nccl", re.IGNORECASE)


class Stopped(Exception):
    """The flag is up: leave the loops."""


class Unwritable(ToolkitError):
    """A result has no place to go: the run cannot do its work."""


class Interrupted(ToolkitError):
    """What a task stands on went away under it: no failure of the task, which goes on from its last checkpoint."""


class RankFailed(ToolkitError):
    """One of several ranks cannot go on, so none can: collectives would wait for it."""


def no_memory(error: BaseException) -> bool:
    """Whether memory was short. PyTorch's caching allocator has a class for it; others tell in words alone."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(NO_MEMORY.search(str(error)))


def device_lost(error: BaseException) -> bool:
    """Whether the process's CUDA context may be broken, so that every later call would raise the same error.

    Some CUDA errors leave the context whole (an invalid launch configuration); a new process is right for those, too,
    and costs seconds.
    """
    if no_memory(error):
        return False
    told = isinstance(error, RuntimeError) and bool(DEVICE_LOST.search(str(error)))
    return told or isinstance(error, torch.AcceleratorError)


def partner_lost(error: BaseException) -> bool:
    """Whether a collective failed: the cause is in another rank, which tells it."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and bool(PARTNER_LOST.search(str(error)))
    )


def image_gone(error: BaseException) -> bool:
    """Whether the error comes from files of a mounted image that is gone (its server, squashfuse, has ended)."""
    return os.strerror(errno.ENOTCONN) in str(error)
