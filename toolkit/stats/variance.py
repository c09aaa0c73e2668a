"""Where the spread of values comes from: nets, datasets, the two together, and noise."""

from typing import NamedTuple

import numpy as np

from toolkit.stats.resampling import Draws, Floats, over_blocks


class Split(NamedTuple):
    """Components of variance of one value in a table of nets and datasets; each (b,), none below 0."""

    datasets: Floats
    """Between the datasets' means: how much harder some are."""
    nets: Floats
    """What a net gains on all datasets alike: the mean covariance between two of them."""
    particular: Floats
    """What a net gains on one dataset alone."""
    noise: Floats
    """What another run or other images would change."""


def split(values: Floats, noise: Floats) -> Split:
    """The components of ``values`` (n, k), without gaps, given the variances ``noise`` (n, k) of the errors; each (1,).

    Two-way analysis of variance with random nets and given datasets (Searle, Casella & McCulloch 1992, ch. 4).
    """
    return Split(*_split(np.ones((1, len(values))), values, noise))


def bootstrap_split(values: Floats, noise: Floats, draws: Draws) -> Split:
    """`split` on ``draws`` of the nets; each (B,)."""
    return Split(*over_blocks(lambda weights: np.stack(_split(weights, values, noise)), len(values), draws))


def _split(weights: np.ndarray, values: Floats, noise: Floats) -> Split:
    n, k = weights.sum(axis=1), values.shape[1]
    centred = values - values.mean(axis=0)
    of_nets = centred.mean(axis=1)
    shift = (weights @ centred).T / n  # (k, b): how far a resample's column means are from the table's
    within = ((weights @ (centred**2).mean(axis=1)) / n - (shift**2).mean(axis=0)) * n / (n - 1)
    between = ((weights @ of_nets**2) / n - shift.mean(axis=0) ** 2) * n / (n - 1)
    nets = (k * between - within) / (k - 1)
    random = (weights @ noise.mean(axis=1)) / n
    means = values.mean(axis=0)[:, None] + shift
    datasets = means.var(axis=0, ddof=1) - (within - nets) / n
    return Split(*(np.maximum(v, 0) for v in (datasets, nets, within - nets - random, random)))
