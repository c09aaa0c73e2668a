"""The sampler's law, and the frozen population it drew."""

import numpy as np
import pytest

from tests.benchmarks.sampler import measure, sample_one_by_one
from toolkit.anynet import load_population, sample
from toolkit.errors import UsageError

PERCENTILES = (5, 25, 50, 75, 95)
# What a faithful sampler of the space gives (Tuggener et al. 2022, recomputed), and how far 4000 nets may stray.
DEPTH = (7, 12, 17, 23, 32)
WIDTH = (129, 224, 351, 531, 941)


def test_the_frozen_population_is_what_its_seed_gives() -> None:
    population = load_population("anynetx-500")
    assert len(population) == len(population.architectures) == 500
    assert population.seed is not None
    assert list(population.configs) == sample(500, seed=population.seed)


def test_every_frozen_net_is_in_budget_and_no_two_are_equal() -> None:
    configs = load_population("anynetx-500").configs
    assert len(set(configs)) == 500
    assert all(360e6 <= config.complexity().flops <= 400e6 for config in configs)


def test_distribution_of_depth_and_width() -> None:
    nets = sample(4000, seed=11)
    depth = np.percentile([net.cumulative_depth for net in nets], PERCENTILES)
    width = np.percentile([net.cumulative_width for net in nets], PERCENTILES)
    assert np.all(np.abs(depth - DEPTH) <= 1.01)
    assert np.all(np.abs(width / WIDTH - 1) < 0.07)


@pytest.mark.slow
def test_batches_and_single_draws_have_one_distribution() -> None:
    from scipy.stats import ks_2samp

    ours, peer = sample(1500, seed=5), sample_one_by_one(1500, seed=6)
    for number in ("cumulative_depth", "cumulative_width"):
        test = ks_2samp([getattr(net, number) for net in ours], [getattr(net, number) for net in peer])
        assert test.pvalue > 1e-3, number
    for field in ("depths", "widths", "bottlenecks", "group_widths"):
        for stage in range(4):
            test = ks_2samp([getattr(net, field)[stage] for net in ours], [getattr(net, field)[stage] for net in peer])
            assert test.pvalue > 1e-4, (field, stage)


def test_a_seed_means_one_list_and_its_beginnings() -> None:
    assert sample(20, seed=4) == sample(200, seed=4)[:20]
    assert sample(20, seed=4) != sample(20, seed=5)
    assert sample(0) == []


def test_another_budget() -> None:
    nets = sample(50, flops=(40e6, 44e6), seed=1)
    assert all(40e6 <= net.complexity().flops <= 44e6 for net in nets)


@pytest.mark.slow
def test_an_empty_budget_ends_with_advice() -> None:
    with pytest.raises(UsageError, match="only 0 of 3 nets found with 1 to 2 MF: widen the range"):
        sample(3, flops=(1e6, 2e6))


def test_shallow_nets_are_those_of_the_same_draws_that_are_no_deeper() -> None:
    nets = sample(20, flops=(12e6, 60e6), seed=2, depth=8)
    assert max(net.cumulative_depth for net in nets) <= 8
    every = [net for net in sample(600, flops=(12e6, 60e6), seed=2) if net.cumulative_depth <= 8]
    shared = min(len(every), 20)
    assert shared > 5 and nets[:shared] == every[:shared]


def test_the_benchmark_times_both_samplers() -> None:
    document = measure(nets=20, repeats=2)
    assert len(document["batches_s"]) == len(document["one_by_one_s"]) == 2
    assert document["ratio"] > 0
