"""Nets that learn: the sampled population and the named models."""

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from toolkit.anynet import AnyNetConfig, architecture, load_population
from toolkit.anynet.count import count_by_hooks, count_by_operations

SAMPLE = [f"anynetx-500/{i}" for i in range(0, 500, 41)]


def learns(model: nn.Module, side: int, classes: int) -> None:
    """Logits of the right shape, and a gradient for every parameter."""
    logits = model.train()(torch.randn(2, 3, side, side))
    assert logits.shape == (2, classes)
    nn.functional.cross_entropy(logits, torch.tensor([0, classes - 1])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("name", SAMPLE)
def test_forward_and_backward(name: str) -> None:
    torch.manual_seed(0)
    learns(architecture(name).build(classes=7, resolution=32), 32, 7)


@pytest.mark.long
def test_forward_and_backward_of_all_500() -> None:
    torch.manual_seed(0)
    for name in load_population("anynetx-500").architectures:
        learns(architecture(name).build(classes=1000, resolution=32), 32, 1000)


@pytest.mark.parametrize("side", [1, 9, 31, 224])
def test_images_of_any_size(side: int) -> None:
    net = architecture("anynetx-500/3").build(classes=3, resolution=side).eval()
    assert net(torch.randn(1, 3, side, side)).shape == (1, 3)


def test_initial_weights_are_the_papers() -> None:
    torch.manual_seed(0)
    net = AnyNetConfig((2,) * 4, (256,) * 4, (1,) * 4, (16,) * 4).build(1000)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is None
            expected = math.sqrt(2 / (module.kernel_size[0] ** 2 * module.out_channels))
            assert module.weight.std().item() == pytest.approx(expected, rel=0.1)
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.eps, module.momentum) == (1e-5, 0.1)
            assert torch.all(module.weight == 1)
        elif isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.05)
            assert torch.all(module.bias == 0)


def test_stride_sits_on_the_3x3_of_the_first_block() -> None:
    net = AnyNetConfig((2,) * 4, (16,) * 4, (2,) * 4, (4,) * 4).build(10)
    grouped = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert [m.stride[0] for m in grouped] == [1, 1, 2, 1, 2, 1, 2, 1]
    shortcuts = [block.shortcut for i in range(1, 5) for block in getattr(net, f"stage{i}")]
    assert [isinstance(s, nn.Identity) for s in shortcuts] == [False, True] * 4


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v3_small", "torchvision/shufflenet_v2_x1_0"])
def test_demo_models_train_on_small_images(name: str) -> None:
    found = architecture(name)
    assert found.input_size(32) == 32
    learns(found.build(10, 32), 32, 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "recipe", "side"),
    [
        ("torchvision/inception_v3", 224, 299),
        ("torchvision/googlenet", 64, 64),
        ("torchvision/vit_b_16", 64, 224),
        ("torchvision/alexnet", 32, 63),
        ("torchvision/vgg19", 224, 224),
        ("torchvision/maxvit_t", 300, 224),
        ("timm/inception_v3", 224, 299),
        ("timm/vit_tiny_patch16_384", 224, 384),
        ("timm/resnet18d", 65, 65),
        ("timm/swin_tiny_patch4_window7_224", 96, 224),
    ],
)
def test_odd_models_take_the_size_they_ask_for(name: str, recipe: int, side: int) -> None:
    found = architecture(name)
    assert found.input_size(recipe) == side
    with torch.device("meta"):
        model = found.build(11, side)
        assert model.train()(torch.zeros(2, 3, side, side)).shape == (2, 11)


@pytest.mark.parametrize("name", ["torchvision/resnet18", "torchvision/mobilenet_v3_small", "torchvision/vit_b_16"])
def test_surveyed_costs_are_those_of_the_built_model(name: str) -> None:
    found = architecture(name)
    side = found.input_size(64)
    with torch.device("meta"):
        model = found.build(37, side)
    shipped, counted = found.complexity(side, 37), count_by_operations(model, side)
    assert shipped is not None
    assert shipped.flops - counted.flops == 37  # the shipped count has the head's bias
    assert shipped[1:] == counted[1:]


def test_both_ways_of_counting_agree_but_for_the_bias() -> None:
    with torch.device("meta"):
        net = architecture("anynetx-500/8").build(10, 32)
    hooks, operations = count_by_hooks(net, 50), count_by_operations(net, 50)
    assert hooks.flops - operations.flops == 10
    assert hooks[1:] == operations[1:]


@pytest.mark.slow
def test_a_strided_shortcut_with_few_channels_learns_at_full_size() -> None:
    """In a process of its own: where a strided 1x1 convolution does this, it takes the process down."""
    code = """
import torch
from toolkit.anynet.model import Bottleneck
block = Bottleneck(8, 16, 16, 16, 2).to(memory_format=torch.channels_last)
for _ in range(3):
    block(torch.randn(4, 8, 56, 56).to(memory_format=torch.channels_last).requires_grad_()).sum().backward()
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
