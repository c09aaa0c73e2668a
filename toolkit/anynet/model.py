"""The torch module of an AnyNetX config."""

import math
from collections import OrderedDict

from torch import Tensor, nn

from toolkit.anynet.config import STEM_STRIDE, STEM_WIDTH, STRIDES, AnyNetConfig


class Bottleneck(nn.Module):
    """1x1, grouped 3x3 with the stride, 1x1, and a shortcut, projected where the shape changes."""

    def __init__(self, w_in: int, w_out: int, inner: int, group_width: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _convolution(w_in, inner, 1),
            nn.ReLU(inplace=True),
            _convolution(inner, inner, 3, stride, groups=inner // group_width),
            nn.ReLU(inplace=True),
            _convolution(inner, w_out, 1),
        )
        same = w_in == w_out and stride == 1
        self.stride = stride
        self.shortcut = nn.Identity() if same else _convolution(w_in, w_out, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(images, w_in, side, side) to (images, w_out, side/stride, side/stride)."""
        # The shortcut's stride by slicing: the backward pass of a strided 1x1 convolution with few channels, channels
        # last, writes outside of its memory on CPUs with AVX-512 (oneDNN as of torch 2.15).
        return self.relu(self.branch(x) + self.shortcut(x[:, :, :: self.stride, :: self.stride]))


def build_anynet(config: AnyNetConfig, classes: int, drop_path: float = 0.0) -> nn.Sequential:
    """Stem, four stages of residual bottlenecks, and a linear head (Tuggener et al. 2022), with fresh weights.

    Maps (images, 3, side, side) to (images, classes) logits. Raises `UsageError` when the config is not compatible.
    """
    config.check_compatible()
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["stem"] = nn.Sequential(_convolution(3, STEM_WIDTH, 3, STEM_STRIDE), nn.ReLU(inplace=True))
    inputs = (STEM_WIDTH, *config.widths)
    for i, stride in enumerate(STRIDES):
        parts[f"stage{i + 1}"] = _stage(
            inputs[i], config.widths[i], config.inner_widths[i], config.group_widths[i], stride, config.depths[i]
        )
    parts["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    parts["head"] = nn.Linear(config.widths[-1], classes)
    net = nn.Sequential(parts)
    net.apply(_initialise)
    if drop_path:
        _add_stochastic_depth(net, drop_path)
    return net


def _add_stochastic_depth(net: nn.Module, rate: float) -> None:
    """Stochastic depth (Huang et al. 2016) by sample on the branches: from 0 at the first to ``rate`` at the last."""
    from torchvision.ops import StochasticDepth

    blocks = [module for module in net.modules() if isinstance(module, Bottleneck)]
    for i, block in enumerate(blocks[1:], 1):
        block.branch.append(StochasticDepth(rate * i / (len(blocks) - 1), "row"))


def _stage(w_in: int, w_out: int, inner: int, group_width: int, stride: int, depth: int) -> nn.Sequential:
    first = Bottleneck(w_in, w_out, inner, group_width, stride)
    return nn.Sequential(first, *(Bottleneck(w_out, w_out, inner, group_width, 1) for _ in range(depth - 1)))


def _convolution(w_in: int, w_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution and its normalisation (eps 1e-5, momentum 0.1, torch's own)."""
    convolution = nn.Conv2d(w_in, w_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(w_out))


def _initialise(module: nn.Module) -> None:
    """Fan-out normal for convolutions, groups ignored (pycls); N(0, 0.01) for the head."""
    if isinstance(module, nn.Conv2d):
        fan_out = math.prod(module.kernel_size) * module.out_channels
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)
