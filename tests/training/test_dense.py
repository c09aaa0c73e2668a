"""Grouped convolutions as dense ones compute the same."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.training.conftest import TINY, changed
from toolkit.study import find_dataset
from toolkit.training.dense import DenseConv2d, make_dense
from toolkit.training.process_group import ProcessGroup
from toolkit.training.trainer import Trainer


@given(st.integers(1, 9), st.integers(1, 12), st.sampled_from([1, 2]))
@settings(max_examples=20, deadline=None)
def test_a_dense_convolution_has_the_grouped_ones_result_and_gradients(groups, width, stride):
    torch.manual_seed(groups)
    channels = groups * width
    grouped = nn.Conv2d(channels, 2 * channels, 3, stride, 1, groups=groups, bias=False).double()
    x = torch.randn(2, channels, 5, 5, dtype=torch.float64, requires_grad=True)
    made = grouped(x)
    wanted = [made, *torch.autograd.grad(made.square().sum(), [x, grouped.weight])]
    names = list(grouped.state_dict())
    make_dense(grouped)
    assert isinstance(grouped, DenseConv2d) == (groups > 1 and channels <= 64 and width < 8)
    made = grouped(x)
    found = [made, *torch.autograd.grad(made.square().sum(), [x, grouped.weight])]
    assert list(grouped.state_dict()) == names
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-9) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("net, dense", [("anynetx-500/17", True), ("timm/mobilenetv3_small_050", False)])
def test_who_is_made_dense(net, dense, declare, data):
    """Sampled nets: other people's convolutions may be told apart by their class."""
    manifest, team = find_dataset("stripes", data).manifest, ProcessGroup(torch.device("cpu"))
    trainer = Trainer(declare(net, recipe=changed(TINY, epochs=1)), manifest, 1, team, asked=("dense-groups",))
    assert trainer.ways == (("dense-groups",) if dense else ())
    assert any(isinstance(each, DenseConv2d) for each in trainer.net.modules()) == dense
