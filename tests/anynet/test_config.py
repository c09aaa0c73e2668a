"""The design space: what a net costs, by the papers' numbers and by watching it run."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.anynet import AnyNetConfig, Complexity
from toolkit.anynet.count import count_by_hooks
from toolkit.anynet.sampler import draw
from toolkit.errors import UsageError

# Best net per dataset in Tuggener et al. 2022: depths, widths, bottlenecks, group widths, printed MF.
PUBLISHED = {
    "ImageNet": ((3, 1, 15, 6), (16, 68, 54, 390), (4, 4, 1, 2), (4, 17, 9, 15), 386.7),
    "Concrete": ((3, 7, 5, 3), (48, 32, 16, 48), (1, 4, 4, 1), (8, 8, 4, 24), 367.6),
    "MLC2008": ((1, 1, 3, 2), (80, 32, 198, 360), (4, 4, 2, 1), (4, 2, 9, 20), 379.8),
    "HAM10000": ((3, 1, 1, 5), (40, 44, 308, 368), (4, 4, 2, 2), (10, 11, 14, 8), 389.6),
    "Powerline": ((2, 1, 2, 1), (56, 216, 208, 24), (4, 4, 4, 4), (14, 27, 26, 2), 383.3),
    "Insects": ((1, 1, 3, 15), (8, 8, 80, 189), (4, 4, 1, 1), (2, 2, 5, 21), 375.2),
    "Natural": ((1, 1, 5, 1), (40, 32, 360, 24), (2, 4, 4, 1), (20, 8, 5, 1), 372.0),
    "CIFAR-10": ((1, 2, 2, 1), (24, 28, 90, 702), (1, 1, 1, 1), (24, 14, 30, 18), 390.9),
    "CIFAR-100": ((1, 2, 2, 1), (24, 28, 90, 702), (1, 1, 1, 1), (24, 14, 30, 18), 390.9),
}


def four(most: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(1, most)] * 4)


def wild(depth: int, width: int) -> st.SearchStrategy[AnyNetConfig]:
    bottlenecks = st.tuples(*[st.sampled_from((1, 2, 4))] * 4)
    return st.builds(AnyNetConfig, four(depth), four(width), bottlenecks, four(32))


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_published_nets_cost_what_the_paper_prints(dataset: str) -> None:
    *stages, megaflops = PUBLISHED[dataset]
    config = AnyNetConfig(*stages)
    assert config.compatible() == config
    assert abs(config.complexity().flops / 1e6 - megaflops) < 0.05


@settings(max_examples=40)
@given(wild(3, 96), st.integers(1, 97), st.integers(1, 300))
@pytest.mark.slow
def test_formula_counts_what_the_module_does(config: AnyNetConfig, resolution: int, classes: int) -> None:
    config = config.compatible()
    with torch.device("meta"):
        net = config.build(classes)
    assert config.complexity(resolution, classes) == count_by_hooks(net, resolution)


@given(wild(16, 1024))
def test_compatible_nets_divide_and_stay(config: AnyNetConfig) -> None:
    fitted = config.compatible()
    for w, b, g, inner in zip(fitted.widths, fitted.bottlenecks, fitted.group_widths, fitted.inner_widths, strict=True):
        assert w == inner * b
        assert inner % g == 0
    assert fitted.compatible() == fitted
    assert fitted.depths == config.depths


def test_batches_are_made_compatible_as_single_nets_are() -> None:
    fields = draw(np.random.Generator(np.random.PCG64(3)), 2000)
    for row in zip(*(field.T.tolist() for field in fields), strict=True):
        config = AnyNetConfig(*map(tuple, row))
        assert config.compatible() == config


def test_half_way_inner_widths_round_to_even_multiples() -> None:
    """As numpy and pycls do; 10/4 is 2.5 groups, so two; 6/4 is 1.5, so two."""
    config = AnyNetConfig((1,) * 4, (10, 6, 14, 3), (1,) * 4, (4,) * 4).compatible()
    assert config.widths == (8, 8, 16, 3)
    assert config.group_widths == (4, 4, 4, 3)


def test_stages_stem_and_head_add_up() -> None:
    config = AnyNetConfig(*PUBLISHED["ImageNet"][:4])
    whole, stages = config.complexity(97, 10), config.stages(97)
    stem = Complexity(864 * 49**2, 864 + 64, 32 * 49**2)
    head = Complexity(3910, 3910, 10)
    assert whole == tuple(map(sum, zip(stem, head, *stages, strict=True)))
    assert config.output_sides(97) == [49, 25, 13, 7]


def test_config_is_a_value() -> None:
    stages = PUBLISHED["ImageNet"][:4]
    config = AnyNetConfig(*map(list, stages))
    assert config == AnyNetConfig(*stages)
    assert hash(config) == hash(AnyNetConfig(*stages))
    assert (config.cumulative_depth, config.cumulative_width) == (25, 528)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.depths = (1, 1, 1, 1)


@pytest.mark.parametrize("depths", [(1, 2, 3), (1, 2, 3, 0), (1, 2, 3, 4.5), (1, 2, 3, -1), (1, 2, 3, 4, 5)])
def test_wrong_numbers_are_named(depths: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="depths must be four positive integers"):
        AnyNetConfig(depths, (8,) * 4, (1,) * 4, (1,) * 4)


def test_an_incompatible_net_is_neither_counted_nor_built() -> None:
    config = AnyNetConfig((1,) * 4, (10,) * 4, (4,) * 4, (3,) * 4)
    for use in (config.complexity, lambda: config.build(10), config.stages):
        with pytest.raises(UsageError, match="compatible"):
            use()
