"""What a net's training step must move through memory, by counting: the limit that fused kernels leave."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from toolkit.anynet import architecture
from toolkit.anynet.model import Bottleneck

CONVOLUTION = 3
"""Times that input and output each pass: forward, and for the gradients of the input and of the weights."""
NORM, RELU, ADD, SPLIT = 8, 5, 3, 3
"""Passes over an activation, forward and backward, of each alone: a norm reads its input twice and writes, then reads
input and gradient twice and writes; a ReLU (in place) 2 and 3; an addition 3 and none; where a block's input goes two
ways, the gradients of both are read and their sum is written."""
FUSED, FUSED_ADDED = 8, 11
"""Passes of `toolkit.training.fused`: with ReLU 3 and 5, with addition and ReLU 4 and 7."""


@dataclass(frozen=True)
class Traffic:
    """Bytes an image of a training step: activations alone, each pass counted in full. Caches save some of it."""

    apart: int
    """With batch norm, addition and ReLU as three operations."""
    fused: int

    def images_s(self, bandwidth: float) -> float:
        """Images a second that ``bandwidth``, in bytes a second, allows with fused operations."""
        return bandwidth / self.fused


def traffic(name: str, side: int, classes: int, bytes_each: int = 2) -> Traffic:
    """Count a sampled net's, by its modules' outputs for one image; ``bytes_each``: of an element."""
    with torch.device("meta"):
        net = architecture(name).build(classes, side)
        image = torch.empty(1, 3, side, side)
    passes = {"convolution": 0, "norm": 0, "relu": 0, "added": 0, "split": 0}

    def count(module: nn.Module, given: Any, made: Any) -> None:
        if isinstance(module, nn.Conv2d):
            passes["convolution"] += given[0].numel() + made.numel()
        elif isinstance(module, nn.BatchNorm2d):
            passes["norm"] += made.numel()
        elif isinstance(module, nn.ReLU):
            passes["relu"] += made.numel()
        elif isinstance(module, Bottleneck):
            passes["added"] += made.numel()
            passes["split"] += given[0].numel()

    for module in net.modules():
        module.register_forward_hook(count)
    net(image)
    both = CONVOLUTION * passes["convolution"] + SPLIT * passes["split"]
    apart = both + NORM * passes["norm"] + RELU * passes["relu"] + ADD * passes["added"]
    fused = both + FUSED * passes["norm"] + (FUSED_ADDED - FUSED) * passes["added"]
    return Traffic(bytes_each * apart, bytes_each * fused)
