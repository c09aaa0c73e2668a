"""Fused batch norms in Triton's interpreter, on a CPU: run by test_fused.py in a process of its own.

Triton reads TRITON_INTERPRET when it is imported. A launch takes the interpreter a tenth of a second or more, so there
are few of them.
"""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from toolkit.anynet.config import AnyNetConfig
from toolkit.anynet.model import build_anynet
from toolkit.training import fused, norm_kernels
from toolkit.training.fused import FusedNorm, fuse

TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 5e-3, torch.float16: 6e-4}
"""Relative distance (Frobenius norm) of results in a type: about half of its last digit, and for float32 its sums."""
SUMS = 5e-6
"""The same for parameters' gradients and statistics, which are float32 whatever the activations are."""
SMALL = AnyNetConfig(depths=(1, 2, 1, 1), widths=(8, 12, 12, 12), bottlenecks=(1, 2, 1, 1), group_widths=(1, 3, 4, 4))


def apart(found, exact):
    return float((found.detach().double() - exact.detach().double()).norm() / exact.detach().double().norm())


def last(tensor):
    return tensor.contiguous(memory_format=torch.channels_last)


class Case:
    """A layer's input, residual, incoming gradient and parameters; and what both ways make of them."""

    def __init__(self, images, channels, height, width, kind, relu, added, mean=3.0):
        draws = torch.Generator().manual_seed(channels)
        size = (images, channels, height, width)
        self.x = last((torch.randn(size, generator=draws) * 2 + mean).to(kind))
        self.residual = last(torch.randn(size, generator=draws).to(kind)) if added else None
        self.grad = torch.randn(size, generator=draws).to(kind)
        self.exact = nn.BatchNorm2d(channels).double()
        with torch.no_grad():
            for parameter in self.exact.parameters():
                parameter.copy_(torch.randn(channels, generator=draws))
        self.plain = copy.deepcopy(self.exact).float()
        self.relu = relu

    def torchs(self, norm, kind):
        """Output, gradients and statistics by torch's own operators in ``kind``."""
        x = self.x.to(kind).requires_grad_()
        residual = None if self.residual is None else self.residual.to(kind).requires_grad_()
        y = norm(x) if residual is None else norm(x) + residual
        return self._with_gradients(torch.relu(y) if self.relu else y, x, residual, norm)

    def ours(self):
        norm = FusedNorm(copy.deepcopy(self.plain), self.relu)
        x = self.x.clone().requires_grad_()
        residual = None if self.residual is None else self.residual.clone().requires_grad_()
        return self._with_gradients(norm(x, residual), x, residual, norm)

    def _with_gradients(self, y, x, residual, norm):
        y.backward(self.grad.to(y.dtype))
        of_type = {"y": y, "x": x.grad} | ({} if residual is None else {"residual": residual.grad})
        sums = {"weight": norm.weight.grad, "bias": norm.bias.grad}
        return of_type, sums | {"mean": norm.running_mean, "variance": norm.running_var}, norm.num_batches_tracked


def check(case):
    of_type, sums, count = case.ours()
    exact_of_type, exact_sums, exact_count = case.torchs(case.exact, torch.float64)
    assert count == exact_count == 1
    for name, tensor in of_type.items():
        assert tensor.dtype == case.x.dtype and tensor.is_contiguous(memory_format=torch.channels_last)
        assert apart(tensor, exact_of_type[name]) < TOLERANCE[case.x.dtype], name
    for name, tensor in sums.items():
        assert apart(tensor, exact_sums[name]) < SUMS, name


@given(
    st.integers(1, 3), st.integers(1, 40), st.integers(1, 7), st.integers(1, 7),
    st.sampled_from(list(TOLERANCE)), st.booleans(), st.booleans(),
)  # fmt: skip
@settings(max_examples=5, deadline=None, derandomize=True)
def test_any_shape_in_any_type_is_torchs_in_float64(images, channels, height, width, kind, relu, added):
    if images * height * width > 1:
        check(Case(images, channels, height, width, kind, relu, added))


@pytest.mark.parametrize(
    "shape", [(3, 5, 9, 5), (2, 130, 3, 3), (1, 24, 40, 40)], ids=["odd", "two_columns", "many_shares"]
)
def test_widths_and_shares(shape, monkeypatch):
    """Odd widths, more channels than a tile has, more tiles than programs and more shares than are added at a time."""
    monkeypatch.setattr(fused, "PROGRAMS", 20)
    monkeypatch.setattr(fused, "PARTS", 8)
    check(Case(*shape, torch.float32, True, True))


def test_a_large_mean_costs_no_digits_of_the_variance(monkeypatch):
    case = Case(2, 3, 8, 8, torch.float32, False, False, mean=3000.0)
    found, exact = case.ours(), case.torchs(case.exact, torch.float64)
    assert apart(found[1]["variance"], exact[1]["variance"]) < 1e-5


def test_no_number_stays_no_number():
    case = Case(2, 3, 4, 4, torch.float32, True, False)
    case.x[0, 1, 2, 2] = torch.nan
    (found, _, _), (expected, _, _) = case.ours(), case.torchs(case.plain, torch.float32)
    assert torch.equal(found["y"].isnan(), expected["y"].isnan()) and found["y"].isnan().any()


def test_the_same_bits_twice():
    case = Case(2, 9, 12, 12, torch.bfloat16, True, True)
    for one, two in zip(case.ours()[:2], case.ours()[:2], strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_gradients_are_those_of_small_differences():
    """Of a smooth loss, along a random direction in the input and all parameters."""
    case = Case(2, 3, 3, 3, torch.float32, False, True)
    norm = FusedNorm(case.plain, relu=False)
    inputs = [case.x.requires_grad_(), case.residual.requires_grad_(), norm.weight, norm.bias]

    def loss():
        return (norm(case.x, case.residual) * case.grad).sin().sum()

    loss().backward()
    torch.manual_seed(0)
    ways = [torch.randn_like(tensor) for tensor in inputs]
    steepest = sum(float(tensor.grad.norm() * way.norm()) for tensor, way in zip(inputs, ways, strict=True))
    slope = sum(float((tensor.grad * way).sum()) for tensor, way in zip(inputs, ways, strict=True))
    step, ends = 1e-3, []
    with torch.no_grad():
        for sign in (1, -2):
            for tensor, way in zip(inputs, ways, strict=True):
                tensor += sign * step * way
            ends.append(float(loss()))
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, abs=2e-3 * steepest)


def test_a_net_learns_and_evaluates_as_its_plain_one(monkeypatch):
    monkeypatch.setattr(fused, "TILE", 1 << 14)  # a program a launch
    torch.manual_seed(1)
    plain = build_anynet(SMALL, 4)
    del plain.stage3, plain.stage4  # a stem, projected blocks, one that is not, and a head are all that there is
    plain = plain.to(memory_format=torch.channels_last)
    other = copy.deepcopy(plain)
    fuse(other)
    images, labels = last(torch.randn(2, 3, 16, 16)), torch.tensor([0, 3])
    losses = [cross_entropy(net(images), labels) for net in (plain, other)]
    for loss in losses:
        loss.backward()
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=1e-5)
    whole = torch.cat([parameter.grad.flatten() for parameter in plain.parameters()]).norm()
    for (name, a), b in zip(plain.named_parameters(), other.parameters(), strict=True):
        assert (a.grad - b.grad).norm() < 1e-4 * max(a.grad.norm(), whole / 100), name
    for (name, a), (same, b) in zip(plain.state_dict().items(), other.state_dict().items(), strict=True):
        assert name == same and torch.allclose(a, b, rtol=1e-4, atol=1e-6), name
    with torch.no_grad():
        assert apart(other.eval()(images[:1]), plain.eval()(images[:1])) < 1e-4


def test_the_interpreter_is_at_work():
    fused.check_triton(torch.device("cpu"))
    assert type(norm_kernels.moments).__name__ == "InterpretedFunction"
