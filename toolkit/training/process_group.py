"""One task over several processes of a node (torchrun starts them): data parallel, the first one keeps the books."""

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class ProcessGroup:
    """The processes that train a task together; one process alone is a team as well.

    Each takes every n-th sample of a batch, so that together they see the batch that one alone would, and every
    validation image is seen by exactly one.
    """

    def __init__(self, device: torch.device) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ.get("RANK", 0))
        self.device = device
        if self.size > 1:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")

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
        """Whether ``flag`` is true for one of the team: all leave a loop at the same batch."""
        if self.size == 1:
            return bool(flag)
        return bool(self.total(torch.tensor(int(bool(flag)), device=self.device)).item())

    def close(self) -> None:
        """Wait for the others, then part."""
        if self.size > 1:
            dist.barrier()
            dist.destroy_process_group()

    def _device_ids(self) -> list[int] | None:
        return [self.device.index] if self.device.type == "cuda" else None
