"""A net of the AnyNetX design space as four stages of numbers, and what it costs."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from toolkit.errors import UsageError

if TYPE_CHECKING:
    import torch

STEM_WIDTH = 32
STEM_STRIDE = 2
STRIDES = (1, 2, 2, 2)
Stages = tuple[int, ...]  # one number for each of the four stages


class Complexity(NamedTuple):
    """What a net costs for one image."""

    flops: int
    """Multiply-adds of convolutions and linear layers (a bias is one per output; normalisation is none)."""
    params: int
    """Learned numbers, normalisation included."""
    activations: int
    """Numbers that convolutions and linear layers put out."""


class Layer(NamedTuple):
    """``repeat`` equal convolutions with ``weights`` numbers that put out ``channels`` maps of ``side`` squared."""

    repeat: Any
    weights: Any
    channels: Any
    side: int


@dataclass(frozen=True)
class AnyNetConfig:
    """Per stage: blocks, output channels, what the width is divided by inside a block, channels of a group.

    Immutable. Raises `UsageError` unless each field holds four positive integers.
    """

    depths: Stages
    widths: Stages
    bottlenecks: Stages
    group_widths: Stages

    def __post_init__(self) -> None:
        for field in fields(self):
            values = tuple(getattr(self, field.name))
            if len(values) != len(STRIDES) or not all(isinstance(v, int) and v > 0 for v in values):
                raise UsageError(f"{field.name} must be four positive integers, not {values}")
            object.__setattr__(self, field.name, values)

    @property
    def cumulative_depth(self) -> int:
        """Sum of the four depths."""
        return sum(self.depths)

    @property
    def cumulative_width(self) -> int:
        """Sum of the four widths."""
        return sum(self.widths)

    @property
    def inner_widths(self) -> Stages:
        """Channels of the grouped 3x3 convolutions by stage."""
        return tuple(w // b for w, b in zip(self.widths, self.bottlenecks, strict=True))

    def compatible(self) -> "AnyNetConfig":
        """The nearest net whose bottlenecks divide its widths and whose groups divide the inner widths.

        The inner width w/b is rounded to a multiple of the group width (Tuggener et al. 2022, after pycls), so a
        width need not stay a multiple of 8. A compatible net is returned as it is.
        """
        pairs = [_fit(w, b, g) for w, b, g in zip(self.widths, self.bottlenecks, self.group_widths, strict=True)]
        widths, groups = zip(*pairs, strict=True)
        return replace(self, widths=widths, group_widths=groups)

    def complexity(self, resolution: int = 224, classes: int = 1000) -> Complexity:
        """Exact counts for a square image with ``resolution`` pixels a side.

        Raises `UsageError` when the net is not compatible.
        """
        self.check_compatible()
        columns = (self.depths, self.widths, self.bottlenecks, self.group_widths)
        return Complexity(*map(int, complexity(*columns, resolution, classes)))

    def output_sides(self, resolution: int = 224) -> list[int]:
        """Side of the maps each stage puts out, in pixels."""
        return [_strided(side, stride) for side, stride in zip(_sides(resolution), STRIDES, strict=True)]

    def stages(self, resolution: int = 224) -> list[Complexity]:
        """What each of the four stages costs, stem and head left out."""
        self.check_compatible()
        rows = zip(self.depths, self.widths, self.bottlenecks, self.group_widths, strict=True)
        inputs = (STEM_WIDTH, *self.widths)
        return [
            _total(_stage(w_in, *row, stride, side))
            for row, w_in, stride, side in zip(rows, inputs, STRIDES, _sides(resolution), strict=False)
        ]

    def check_compatible(self) -> None:
        """Raise `UsageError` unless bottlenecks divide widths and groups divide inner widths."""
        if self.compatible() != self:
            raise UsageError(f"{self} has groups or bottlenecks that do not divide its widths; use .compatible()")

    def build(self, classes: int, drop_path: float = 0.0) -> "torch.nn.Module":
        """The net with fresh weights: maps (images, 3, side, side) to (images, classes) logits.

        ``drop_path``: rate of stochastic depth at the last block, growing linearly from 0 at the first.
        """
        from toolkit.anynet.model import build_anynet

        return build_anynet(self, classes, drop_path)


def complexity(
    depths: Any, widths: Any, bottlenecks: Any, group_widths: Any, resolution: int, classes: int
) -> tuple[Any, Any, Any]:
    """(flops, params, activations) of compatible nets; each argument has one entry per stage.

    An entry is a number, or an array over nets: the arithmetic is the same, so that sampling counts whole batches
    by the formula that counts a single net.
    """
    sides = _sides(resolution)
    stem = Layer(1, 27 * STEM_WIDTH, STEM_WIDTH, sides[0])
    layers = [stem]
    w_in: Any = STEM_WIDTH
    for d, w, b, g, stride, side in zip(depths, widths, bottlenecks, group_widths, STRIDES, sides, strict=True):
        layers.extend(_stage(w_in, d, w, b, g, stride, side))
        w_in = w
    flops, params, activations = _total(layers)
    head = w_in * classes + classes
    return flops + head, params + head, activations + classes


def _stage(w_in: Any, d: Any, w: Any, b: Any, g: Any, stride: int, side: int) -> Iterator[Layer]:
    """The convolutions of a stage that takes maps of ``side``; the stride sits on the first block's 3x3."""
    v = w // b
    out = _strided(side, stride)
    projected = (w_in != w) | (stride != 1)
    yield Layer(1, w_in * v, v, side)
    yield Layer(projected * 1, w_in * w, w, out)
    yield Layer(d - 1, w * v, v, out)
    yield Layer(d, 9 * v * g, v, out)
    yield Layer(d, v * w, w, out)


def _total(layers: Any) -> Any:
    """Each convolution has its weights once per location, and a normalisation of two numbers per channel."""
    layers = list(layers)
    return Complexity(
        flops=sum(n.repeat * n.weights * n.side**2 for n in layers),
        params=sum(n.repeat * (n.weights + 2 * n.channels) for n in layers),
        activations=sum(n.repeat * n.channels * n.side**2 for n in layers),
    )


def _sides(resolution: int) -> list[int]:
    """Side of the maps that enter each stage."""
    sides = [_strided(resolution, STEM_STRIDE)]
    for stride in STRIDES[:-1]:
        sides.append(_strided(sides[-1], stride))
    return sides


def _strided(side: int, stride: int) -> int:
    return (side - 1) // stride + 1


def _fit(width: int, bottleneck: int, group: int) -> tuple[int, int]:
    """(width, group width) of a stage after rounding its inner width to a multiple of its group width."""
    inner = max(1, width // bottleneck)
    group = min(group, inner)
    inner = max(group, round(inner / group) * group)
    return inner * bottleneck, group
