"""Resamples of architectures, drawn in blocks that several threads can work on."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK = 250
"""Resamples drawn from one stream. A constant: the numbers must not depend on the count of threads."""
LEVEL = 0.95
UNDEFINED_ALLOWED = 0.05
"""Share of resamples that may have no value (a constant column) before an interval means nothing. Our choice."""


class Interval(NamedTuple):
    """An interval of `LEVEL`; NaN at both ends when there is none."""

    low: float
    high: float


NO_INTERVAL = Interval(float("nan"), float("nan"))


class Draws(NamedTuple):
    """How rows are resampled: how often, by which seed, and in which families."""

    resamples: int
    seed: int
    families: Ints | None = None
    """Label of each row (n,); rows of one label are drawn together (cluster bootstrap). None: row by row."""

    def among(self, rows: NDArray[np.bool_] | Ints) -> "Draws":
        """The same for ``rows``, a mask (n,) or row numbers."""
        return self if self.families is None else self._replace(families=self.families[rows])

    @property
    def family_count(self) -> int | None:
        """Number of families; None where rows are drawn one by one."""
        return None if self.families is None else len(np.unique(self.families))


def blocks(n: int, draws: Draws) -> Iterator[Ints]:
    """Draws with replacement of n rows as weights (b, n): how often each row was drawn.

    Rows of weights sum to n, or, where whole families are drawn, to the size of those that were.
    """
    labels = np.arange(n) if draws.families is None else np.unique(draws.families, return_inverse=True)[1]
    units = int(labels.max()) + 1 if n else 0
    for block, start in enumerate(range(0, draws.resamples, BLOCK)):
        b = min(BLOCK, draws.resamples - start)
        drawn = np.random.default_rng([draws.seed, block]).integers(units, size=(b, units))
        flat = (drawn + units * np.arange(b)[:, None]).ravel()
        weights = np.bincount(flat, minlength=b * units).reshape(b, units)
        yield weights if draws.families is None else weights[:, labels]


def over_blocks(function: Callable[[Ints], Floats], n: int, draws: Draws) -> Floats:
    """``function`` of each block's weights (b, n) -> (..., b), on all allowed cores, joined to (..., resamples)."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return np.concatenate(list(pool.map(function, blocks(n, draws))), axis=-1)


def percentile_interval(samples: Floats) -> Interval:
    """The central `LEVEL` of bootstrap values (B,) by percentiles (Efron & Tibshirani 1993, ch. 13).

    None (NaN, NaN) when more than `UNDEFINED_ALLOWED` of the resamples have no value, and when it would have no width:
    resamples that all agree say that the bootstrap cannot see the doubt, not that there is none.
    """
    defined = samples[np.isfinite(samples)]
    if len(defined) == 0 or len(defined) < (1 - UNDEFINED_ALLOWED) * len(samples):
        return NO_INTERVAL
    places = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2]) * (len(defined) - 1)
    low, high = np.interp(places, np.arange(len(defined)), np.sort(defined))  # np.quantile, which takes thrice as long
    return Interval(float(low), float(high)) if low < high else NO_INTERVAL
