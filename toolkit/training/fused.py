"""Batch norm with the addition and the ReLU behind it as one operation, for sampled nets on a GPU.

With launches gone (`toolkit.training.graphs`) a step is bound by what it moves through memory. Apart, the three read or
write an activation eight times forward and eight backward; as one, four times and seven (without addition five and
eight, three and five). Parameters, buffers and their names stay, so a checkpoint of either net is one of the other.
"""

import socket
from importlib.util import find_spec
from math import gcd
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from toolkit.anynet.model import Bottleneck
from toolkit.errors import ToolkitError, UsageError

ALIGNED = 16
"""Channels up to which their number's factor is told to the compiler: 16 bytes of bfloat16 need 8."""
TILE = 2048
"""Elements that a program works on at a time (our choice, as are the next three: no card has measured them)."""
WIDEST = 128
"""Channels of a tile at most."""
PROGRAMS = 1024
"""About how many programs share a kernel's work: the same on every card, so that sums have the same bits."""
PARTS = 128
"""Shares that the second kernel adds up at a time, `STATISTICS` channels in each program."""
STATISTICS = 16


def available() -> bool:
    """Whether Triton, which compiles the kernels, is installed."""
    return find_spec("triton") is not None


def check_triton(device: torch.device) -> None:
    """Have Triton run a kernel on ``device``. Raises `UsageError` where there is none, `ToolkitError` where it cannot.

    It builds its driver with a C compiler the first time, and keeps what it compiles in a folder (triton/runtime).
    """
    if not available():
        raise UsageError("--ways fused-norm needs Triton, which is not installed here: pip install triton")
    try:
        with torch.no_grad():
            FusedNorm(nn.BatchNorm2d(ALIGNED, device=device).eval(), relu=True)(
                torch.ones(2, ALIGNED, 1, 1, device=device)
            )
    except Exception as error:  # of a compiler, a driver or a disk
        said = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
        raise ToolkitError(
            f"--ways fused-norm: Triton runs no kernel on {device} of {socket.gethostname()} ({said}); it needs a C "
            "compiler, Python's headers, and a folder that it may write (TRITON_CACHE_DIR); or leave the way out"
        ) from error


class Cut(NamedTuple):
    """How a matrix of rows and channels is shared out to programs."""

    units: int
    align: int
    """Their product is the number of channels."""
    rows: int
    channels: int
    """Of a tile."""
    share: int
    """Rows of a program, a multiple of the tile's."""
    parts: int
    """Shares of rows."""
    columns: int
    """Shares of channels."""


def cut(rows: int, channels: int) -> Cut:
    """Share ``rows`` x ``channels`` out, by the sizes alone.

    The tile is as wide as leaves fewest lanes without a channel; of two equal ones, the wider.
    """
    align = gcd(channels, ALIGNED)
    widths = (16, 32, 64, WIDEST)
    wide = min(widths, key=lambda width: (-(-channels // width) * width, -width))
    high, columns = TILE // wide, -(-channels // wide)
    tiles = -(-rows // high)
    share = high * -(-tiles // max(PROGRAMS // columns, 1))
    return Cut(channels // align, align, high, wide, share, -(-rows // share), columns)


class _NormAddReLU(torch.autograd.Function):
    """By the batch's own statistics; running ones are moved on."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, residual: Tensor | None, norm: "FusedNorm", weight: Tensor, bias: Tensor
    ) -> Tensor:
        from toolkit.training import norm_kernels as kernels

        rows = x.numel() // x.shape[1]
        plan = cut(rows, x.shape[1])
        partial = _partial(plan, x)
        mean, variance = (torch.empty(x.shape[1], dtype=torch.float32, device=x.device) for _ in range(2))
        kernels.moments[plan.parts, plan.columns](x, *partial, rows, plan.units, plan.share, *_sizes(plan))
        kernels.statistics[_narrow(plan)](
            *partial, mean, variance, norm.running_mean, norm.running_var, rows, plan.units, plan.share, plan.parts,
            norm.momentum, plan.align, PARTS, STATISTICS,
        )  # fmt: skip
        y = _normalised(x, residual, mean, variance, norm)
        output = y if norm.relu and residual is not None else None
        ctx.save_for_backward(x, mean, variance, weight, bias, output)
        ctx.plan, ctx.eps, ctx.relu = plan, norm.eps, norm.relu
        ctx.residual = None if residual is None else residual.dtype
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from toolkit.training import norm_kernels as kernels

        x, mean, variance, weight, bias, y = ctx.saved_tensors
        plan, added = ctx.plan, ctx.residual is not None and ctx.relu
        grad = grad.contiguous(memory_format=torch.channels_last)
        rows, partial = x.numel() // x.shape[1], _partial(plan, x)
        before = torch.empty_like(x, dtype=ctx.residual) if added else grad
        tail = (rows, plan.units, plan.share, ctx.eps)
        kernels.gradient_sums[plan.parts, plan.columns](
            grad, x, y if added else x, before, mean, variance, weight, bias, *partial, *tail, ctx.relu, added,
            *_sizes(plan),
        )  # fmt: skip
        grad_bias, grad_weight = torch.empty_like(mean), torch.empty_like(mean)
        kernels.add_shares[_narrow(plan)](
            *partial, grad_bias, grad_weight, plan.units, plan.parts, plan.align, PARTS, STATISTICS
        )
        grad_x = torch.empty_like(x)
        kernels.input_gradient[plan.parts, plan.columns](
            before, x, grad_x, mean, variance, weight, bias, grad_bias, grad_weight, *tail, ctx.relu and not added,
            *_sizes(plan),
        )  # fmt: skip
        return grad_x, before if ctx.residual else None, None, grad_weight, grad_bias


def _sizes(plan: Cut) -> tuple[int, int, int]:
    return plan.align, plan.rows, plan.channels


def _narrow(plan: Cut) -> tuple[int, int]:
    """The grid of the kernels that add up shares."""
    return 1, -(-plan.units * plan.align // STATISTICS)


def _partial(plan: Cut, x: Tensor) -> tuple[Tensor, Tensor]:
    """Two results of each share."""
    size = (plan.parts, plan.units * plan.align)
    a, b = (torch.empty(size, dtype=torch.float32, device=x.device) for _ in range(2))
    return a, b


def _normalised(x: Tensor, residual: Tensor | None, mean: Any, variance: Any, norm: "FusedNorm") -> Tensor:
    from toolkit.training import norm_kernels as kernels

    rows = x.numel() // x.shape[1]
    plan = cut(rows, x.shape[1])
    y = torch.empty_like(x, dtype=x.dtype if residual is None else torch.result_type(x, residual))
    kernels.normalise[plan.parts, plan.columns](
        x, x if residual is None else residual, y, mean, variance, norm.weight, norm.bias, rows, plan.units, plan.share,
        norm.eps, norm.relu, residual is not None, *_sizes(plan),
    )  # fmt: skip
    return y


class FusedNorm(nn.BatchNorm2d):
    """A batch norm with what follows it: an addition where a residual is given, a ReLU where it is told so.

    It has the very parameters and buffers of ``norm``.
    """

    def __init__(self, norm: nn.BatchNorm2d, relu: bool) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, device="meta")
        self.weight, self.bias, self.training, self.relu = norm.weight, norm.bias, norm.training, relu
        for name, buffer in norm.named_buffers():
            setattr(self, name, buffer)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """(images, channels, height, width), as is ``residual``; channels last in memory, or copied so.

        A gradient through running statistics, and the statistics of one row, are left to torch.
        """
        learns = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        if (learns and not self.training) or x.numel() // x.shape[1] < 2:
            return self._apart(x, residual)
        x = x.contiguous(memory_format=torch.channels_last)
        residual = None if residual is None else residual.contiguous(memory_format=torch.channels_last)
        if not self.training:
            return _normalised(x, residual, self.running_mean, self.running_var, self)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        return _NormAddReLU.apply(x, residual, self, self.weight, self.bias)

    def _apart(self, x: Tensor, residual: Tensor | None) -> Tensor:
        y = super().forward(x)
        y = y if residual is None else y + residual
        return torch.relu(y) if self.relu else y


class FusedBottleneck(nn.Module):
    """A residual block whose last batch norm adds the shortcut and applies the ReLU."""

    def __init__(self, block: Bottleneck) -> None:
        super().__init__()
        self.branch, self.shortcut, self.stride = block.branch, block.shortcut, block.stride
        self.train(block.training)

    def forward(self, x: Tensor) -> Tensor:
        """As of the block."""
        *body, (convolution, norm) = self.branch
        shortcut = self.shortcut(x[:, :, :: self.stride, :: self.stride])
        for layer in body:
            x = layer(x)
        return norm(convolution(x), shortcut)


def fuse(net: nn.Sequential) -> None:
    """Have a sampled net use the fused operations: its stem, and in its blocks.

    A block that drops its branch at random (stochastic depth) keeps addition and ReLU apart: the drop lies between.
    """
    assert isinstance(net.stem, nn.Sequential)
    _fuse_in(net.stem)
    for stage in (layer for layer in net if isinstance(layer, nn.Sequential)):
        for i, block in enumerate(stage):
            if isinstance(block, Bottleneck):
                stage[i] = _fused(block)


def _fused(block: Bottleneck) -> nn.Module:
    dropped = not isinstance(block.branch[-1], nn.Sequential)
    _fuse_in(block.branch)
    if isinstance(block.shortcut, nn.Sequential):
        block.shortcut[1] = FusedNorm(block.shortcut[1], relu=False)
    if dropped:
        return block
    block.branch[-1][1].relu = True
    return FusedBottleneck(block)


def _fuse_in(layers: nn.Sequential) -> None:
    """Each (convolution, batch norm) of ``layers``, with the ReLU behind it where there is one."""
    for i, layer in enumerate(layers):
        if isinstance(layer, nn.Sequential):
            relu = i + 1 < len(layers) and isinstance(layers[i + 1], nn.ReLU)
            layer[1] = FusedNorm(layer[1], relu)
            if relu:
                layers[i + 1] = nn.Identity()
