"""Counting what a built model does, by watching it run: the check on the formula, and the source of ``named.json``."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from toolkit.anynet.config import Complexity


def count_by_hooks(model: nn.Module, resolution: int) -> Complexity:
    """Complexity of a model of convolutions and linear layers, from the shapes that pass its modules."""
    counted = {"flops": 0, "activations": 0}

    def watch(module: nn.Module, _: Any, output: Tensor) -> None:
        weight, bias = module.weight, module.bias
        locations = output.numel() // weight.shape[0]
        counted["flops"] += weight.numel() * locations + (0 if bias is None else bias.numel() * locations)
        counted["activations"] += output.numel()

    handles = [m.register_forward_hook(watch) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    _run(model, resolution)
    for handle in handles:
        handle.remove()
    return Complexity(counted["flops"], _params(model), counted["activations"])


def count_by_operations(model: nn.Module, resolution: int) -> Complexity:
    """Complexity of any model: attention's products are multiply-adds too, biases are none.

    Activations are those of convolutions and linear modules.
    """
    counter = FlopCounterMode(display=False)
    with counter:
        activations = count_by_hooks(model, resolution).activations
    return Complexity(counter.get_total_flops() // 2, _params(model), activations)


def _run(model: nn.Module, resolution: int) -> None:
    device = next(model.parameters()).device
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, resolution, resolution, device=device))


def _params(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
