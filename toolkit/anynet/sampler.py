"""Random nets of the design space within a budget of multiply-adds, drawn in large batches."""

import numpy as np
from numpy.typing import NDArray

from toolkit.anynet.config import AnyNetConfig, complexity
from toolkit.errors import UsageError

MAX_DEPTH, MAX_WIDTH, WIDTH_STEP, MAX_GROUP = 16, 1024, 8, 32
BOTTLENECKS = (1, 2, 4)
BUDGET = (360e6, 400e6)
"""Multiply-adds at 224 pixels and 1000 classes (Tuggener et al. 2022)."""
BATCH = 1 << 12  # part of what a seed means: another batch size gives other nets
PATIENCE = 1000  # batches without a new net (4 million draws) before a budget counts as empty

Ints = NDArray[np.int64]
Nets = tuple[Ints, Ints, Ints, Ints]  # depths, widths, bottlenecks, group widths: (4 stages, nets) each


def sample(
    n: int, flops: tuple[float, float] = BUDGET, seed: int = 0, depth: int = 4 * MAX_DEPTH
) -> list[AnyNetConfig]:
    """``n`` different compatible nets with multiply-adds (224 px, 1000 classes) in ``flops``, both ends included.

    None has more than ``depth`` blocks in all; by default that leaves none out.

    Draws are log-uniform as in Tuggener et al. 2022 (the AnyNetX space of pycls). The first k of n nets are those
    that ``sample(k)`` gives for the same seed. Raises `UsageError` when so few nets are within the budget that
    it finds no further one.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    found: dict[tuple[int, ...], None] = {}
    idle = 0
    while len(found) < n and idle < PATIENCE:
        before = len(found)
        found.update(dict.fromkeys(map(tuple, _kept(draw(generator, BATCH), flops, depth).tolist())))
        idle = 0 if len(found) > before else idle + 1
    if len(found) < n:
        low, high = flops
        raise UsageError(
            f"only {len(found)} of {n} nets found with {low / 1e6:g} to {high / 1e6:g} MF: widen the range"
            + (f", or allow more than {depth} blocks" if depth < 4 * MAX_DEPTH else "")
        )
    return [_config(row) for row in list(found)[:n]]


def draw(generator: np.random.Generator, count: int) -> Nets:
    """``count`` compatible nets of any cost."""
    shape = (4, count)
    depths = _log_uniform(generator, 0.5, MAX_DEPTH, 1, shape)
    widths = _log_uniform(generator, WIDTH_STEP / 2, MAX_WIDTH, WIDTH_STEP, shape)
    bottlenecks = np.array(BOTTLENECKS)[generator.integers(len(BOTTLENECKS), size=shape)]
    groups = _log_uniform(generator, 0.5, MAX_GROUP, 1, shape)
    inner = np.maximum(1, widths // bottlenecks)
    groups = np.minimum(groups, inner)
    inner = np.maximum(groups, np.rint(inner / groups).astype(np.int64) * groups)
    return depths, inner * bottlenecks, bottlenecks, groups


def _log_uniform(generator: np.random.Generator, low: float, high: int, step: int, shape: tuple[int, int]) -> Ints:
    """Log-uniform in (low, high], rounded up to a multiple of ``step``."""
    exact = np.exp(generator.uniform(np.log(low), np.log(high), shape))
    return np.ceil(exact / step).astype(np.int64) * step


def _kept(nets: Nets, flops: tuple[float, float], depth: int) -> Ints:
    """The nets within the budget as rows of 16 numbers."""
    counted = complexity(*nets, 224, 1000)[0]
    within = np.flatnonzero((counted >= flops[0]) & (counted <= flops[1]) & (nets[0].sum(0) <= depth))
    return np.concatenate([field[:, within] for field in nets]).T


def _config(row: tuple[int, ...]) -> AnyNetConfig:
    return AnyNetConfig(*(row[i : i + 4] for i in range(0, 16, 4)))
