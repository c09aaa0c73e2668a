"""Fused batch norms and grouped convolutions against torch's own: parts of `toolkit.bench gpu`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from toolkit.benchmarks._gpu_rates import LOSSES, Scale, _skip_without_gpu
from toolkit.benchmarks._part import Part
from toolkit.benchmarks._traffic import traffic
from toolkit.training.dense import block_diagonal
from toolkit.training.fused import FusedNorm, available
from toolkit.training.graphs import WARM_UP, Record, cuda_graph
from toolkit.ways import Way

WIDTHS = (24, 37, 64, 130)
"""Channels of the layers that are compared: aligned, odd, a tile's, more than a tile's."""
ROUNDED = 5e-3
"""Relative distance (Frobenius norm) of bfloat16 from float64: about half of its last digit."""
GROUPED = ((16, 1), (32, 2), (48, 3), (64, 4), (64, 7), (64, 16), (128, 8))
"""Channels (about) and group widths of 3x3 convolutions; of the population's, 59% have less than 8 and at most 64."""


def fused(part: Part, scale: Scale) -> None:
    """Nets with fused batch norms, alone and in graphs, against plain ones and against their traffic's limit."""
    if not scale.cuda or not available():
        _limits(part, scale)
        return
    for channels in WIDTHS:
        part.add(channels=channels, **_layer(scale, channels))
    bandwidth = scale.bandwidth()
    for side in scale.sides:
        for net in scale.nets:
            if part:
                part.add(net=net, side=side, **_fused(scale, net, side, bandwidth))


def _limits(part: Part, scale: Scale) -> None:
    """The traffic of nets, which needs no GPU to be counted."""
    why = "Triton is not installed" if scale.cuda else "a GPU is needed (the tests interpret the kernels)"
    part.add(skipped=f"nothing was timed: {why}")
    for side in scale.sides:
        for net in scale.nets:
            found = traffic(f"anynetx-500/{net}", side, 8)
            part.add(net=net, side=side, mb_apart=found.apart / 1e6, mb_fused=found.fused / 1e6)


def _layer(scale: Scale, channels: int) -> dict[str, Any]:
    """A norm, addition and ReLU in bfloat16: its distance from torch's in float64, and both ways' time."""
    side = max(scale.sides[0] // 4, 8)
    size = (scale.batch, channels, side, side)
    x, residual, grad = (_activation(size, scale.device) for _ in range(3))
    norm = nn.BatchNorm2d(channels).to(scale.device)
    ours = FusedNorm(norm, relu=True)
    ways: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "apart": lambda a, b: torch.relu(norm(a) + b),
        "fused": ours,
    }
    times = {f"{way}_ms": _timed(scale, call, (x, residual), grad) * 1e3 for way, call in ways.items()}
    exact = _results(lambda a, b: torch.relu(norm.double()(a) + b), (x.double(), residual.double()), grad.double())
    norm.float()
    found = _results(ours, (x, residual), grad)
    distance = max(_distance(a, b) for a, b in zip(found, exact, strict=True))
    return {**times, "gain": times["apart_ms"] / times["fused_ms"], "distance": distance, "right": distance <= ROUNDED}


FUSED: tuple[Way, ...] = ("fused-norm",)


def _fused(scale: Scale, net: int, side: int, bandwidth: float) -> dict[str, Any]:
    seconds, losses = {}, {}
    compared: tuple[tuple[str, Record | None, tuple[Way, ...]], ...] = (
        ("apart", None, ()),
        ("fused", None, FUSED),
        ("apart_graph", cuda_graph, ()),
        ("fused_graph", cuda_graph, FUSED),
    )
    for way, record, ways in compared:
        trainer, step = scale.held(net, side, record=record, ways=ways)
        scale.timed(step, 1)
        losses[way] = trainer.loss_sum.item()
        scale.timed(step, WARM_UP + 1)
        seconds[way], _ = scale.timed(step)
    apart = abs(losses["fused"] - losses["apart"]) / abs(losses["apart"])
    limit = traffic(f"anynetx-500/{net}", side, 8).images_s(bandwidth)
    return {
        **{f"{way}_ms": each * 1e3 for way, each in seconds.items()},
        "gain": seconds["apart_graph"] / seconds["fused_graph"],
        "limit_images_s": limit,
        "of_limit": scale.batch / seconds["fused_graph"] / limit,
        "first_losses_apart": apart,
        "right": apart <= LOSSES,
    }


def grouped(part: Part, scale: Scale) -> None:
    """Grouped 3x3 convolutions, forward and backward, against dense ones whose weights are zero between groups."""
    if _skip_without_gpu(part, scale, "which layout is faster, a GPU has to say"):
        return
    for about, width in GROUPED:
        if part:
            part.add(channels=about // width * width, group_width=width, **_grouped(scale, about // width, width))


def _grouped(scale: Scale, groups: int, width: int) -> dict[str, Any]:
    channels, side = groups * width, max(scale.sides[0] // 4, 8)
    x, grad = (_activation((scale.batch, channels, side, side), scale.device) for _ in range(2))
    weight = torch.randn(channels, width, 3, 3, device=scale.device, dtype=torch.bfloat16)
    ways: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "grouped": lambda a, w: conv2d(a, w, padding=1, groups=groups),
        "dense": lambda a, w: conv2d(a, block_diagonal(w, groups), padding=1),
    }
    times = {f"{way}_ms": _timed(scale, call, (x, weight), grad) * 1e3 for way, call in ways.items()}
    found = [_results(call, (x, weight), grad) for call in ways.values()]
    distance = max(_distance(a, b) for a, b in zip(*found, strict=True))
    gain = times["grouped_ms"] / times["dense_ms"]
    return {**times, "gain": gain, "distance": distance, "right": distance <= 4 * ROUNDED}


def _activation(size: tuple[int, ...], device: torch.device) -> Tensor:
    drawn = torch.randn(size, device=device, dtype=torch.bfloat16)
    return drawn.contiguous(memory_format=torch.channels_last)


def _results(call: Callable[..., Tensor], inputs: tuple[Tensor, ...], grad: Tensor) -> list[Tensor]:
    """Output and the inputs' gradients."""
    leaves = [each.detach().requires_grad_() for each in inputs]
    made = call(*leaves)
    return [made.detach(), *torch.autograd.grad(made, leaves, grad)]


def _timed(scale: Scale, call: Callable[..., Tensor], inputs: tuple[Tensor, ...], grad: Tensor) -> float:
    scale.timed(lambda: _results(call, inputs, grad), 3)
    return scale.timed(lambda: _results(call, inputs, grad))[0]


def _distance(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact.double()).norm() / exact.double().norm())


RATES = {each.__name__: each for each in (fused, grouped)}
