"""One task over several ranks (processes) of a node: data parallel, the first one keeps the books."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

COLLECTIVE_S = 600
"""Seconds that a rank waits for the others: longer than the first one needs for a checkpoint (our choice)."""


@dataclass(frozen=True)
class Membership:
    """A process's place among the ranks, which meet in a file of ``folder``."""

    rank: int = 0
    size: int = 1
    folder: Path | None = None


class ProcessGroup:
    """The processes that train a task together; one process alone is a team as well.

    Each takes every n-th sample of a batch, so that together they see the batch that one alone would, and every
    validation image is seen by exactly one.
    """

    def __init__(self, device: torch.device, membership: Membership | None = None) -> None:
        membership = membership or Membership()
        self.rank, self.size = membership.rank, membership.size
        self.device = device
        if membership.folder:
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
                store=dist.FileStore(str(membership.folder / "store"), self.size),
                rank=self.rank,
                world_size=self.size,
                timeout=timedelta(seconds=COLLECTIVE_S),
            )

    @property
    def is_main(self) -> bool:
        """Whether this process writes results, checkpoints and progress."""
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        """(i, n): this process takes each n-th sample from the i-th on."""
        return self.rank, self.size

    def trained(self, net: nn.Module) -> nn.Module:
        """``net`` with gradients averaged over the team; on GPUs batch norm sees the whole batch."""
        if self.size == 1:
            return net
        if self.device.type == "cuda":
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
        return nn.parallel.DistributedDataParallel(net, device_ids=self._device_ids())

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over the team, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: Any) -> bool:
        """Whether ``flag`` is true for one of the team: all leave a loop at the same batch. No GPU is waited for."""
        if self.size == 1:
            return bool(flag)
        return bool(self.total(torch.tensor(int(bool(flag)))).item())

    def close(self) -> None:
        """Wait for the others, then part."""
        if self.size > 1:
            dist.barrier()
            dist.destroy_process_group()

    def _device_ids(self) -> list[int] | None:
        return [self.device.index] if self.device.type == "cuda" else None
