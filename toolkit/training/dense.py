"""Grouped convolutions computed as dense ones: on some cards many small groups take longer than one large product."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

WIDEST = 64
"""Channels up to which a grouped convolution is made dense (our choice: beyond, zeros are most of the work)."""
NARROW = 8
"""Channels of a group from which on groups stay: a card multiplies eight at a time at least (our choice)."""


class DenseConv2d(nn.Conv2d):
    """A grouped convolution, computed with weights that are zero between groups; parameters are the grouped one's."""

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Conv2d`, up to the rounding of sums."""
        weight = block_diagonal(self.weight, self.groups)
        return conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation)


def make_dense(net: nn.Module) -> None:
    """Have the net's convolutions with many small groups computed as dense ones.

    A module is told its new class and stays what it is: its parameters, their names and the optimizer's places.
    """
    for module in net.modules():
        if type(module) is nn.Conv2d and pays(module):
            module.__class__ = DenseConv2d


def pays(convolution: nn.Conv2d) -> bool:
    """Whether a convolution has groups so many and so small that zeros between them are expected to cost less."""
    inputs, groups = convolution.in_channels, convolution.groups
    return groups > 1 and inputs <= WIDEST and inputs // groups < NARROW


def block_diagonal(weight: Tensor, groups: int) -> Tensor:
    """The dense convolution's weight (out, in, kernel, kernel) of a grouped one's (out, in/groups, kernel, kernel).

    Differentiable; from one group's channels to another's it is zero.
    """
    out, width, *kernel = weight.shape
    blocks = weight.view(groups, out // groups, width, *kernel).movedim(0, -1)
    return torch.diag_embed(blocks).permute(4, 0, 5, 1, 2, 3).reshape(out, groups * width, *kernel)
