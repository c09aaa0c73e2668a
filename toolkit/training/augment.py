"""Randomness by counting: what happens to a sample is a pure function of seed, epoch and sample.

So neither threads, nor workers, nor a resume, nor the nets that look on can change a batch. The generator is the
finaliser of SplitMix64 (Steele, Lea, Flood 2014) over a key and a counter; integer arithmetic only, the same on every
machine and under every version of numpy.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
TRIES = 10
"""Draws of a crop that must fit into the image before the central one is taken (as in torchvision and FFCV)."""
DRAWS = 2 * TRIES + 3
ORDER = 1 << 40
"""A counter that no sample's draws reach: sample numbers of the epoch's order start here."""


def mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser: a bijection of 64 bits, of any shape, in which every input bit moves every output bit."""
    x = values + GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def bits(seed: int, epoch: int, counters: Ints) -> npt.NDArray[np.uint64]:
    """64 random bits for each counter, shape as ``counters``."""
    key = mix(mix(np.array([seed], np.uint64)) ^ np.array([epoch], np.uint64))
    return mix(key ^ mix(counters.astype(np.uint64)))


def uniforms(seed: int, epoch: int, samples: Ints, draws: int) -> Floats:
    """Uniform numbers in [0, 1), shape (samples, draws)."""
    counters = samples[:, None] * DRAWS + np.arange(draws)
    return (bits(seed, epoch, counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def order(seed: int, epoch: int, samples: int) -> Ints:
    """A permutation of 0..samples-1."""
    return np.argsort(bits(seed, epoch, ORDER + np.arange(samples)), kind="stable")


def step_seed(seed: int, epoch: int, step: int) -> int:
    """A seed for what a net itself draws in a step (dropout, stochastic depth)."""
    return int(bits(seed, epoch, np.array([2 * ORDER + step]))[0] >> np.uint64(1))


def random_crops(
    draws: Floats, heights: Ints, widths: Ints, scale: tuple[float, float], ratio: tuple[float, float]
) -> Ints:
    """Random resized crops (Szegedy et al. 2015), one an image: (samples, 4) of top, left, height, width in pixels.

    The area is uniform in ``scale`` (shares of the image), the logarithm of width over height uniform in ``ratio``;
    the first of `TRIES` draws that fits is taken, else the largest central crop within ``ratio``.
    ``draws``: (samples, `DRAWS`) uniform numbers.
    """
    area = scale[0] + (scale[1] - scale[0]) * draws[:, :TRIES]
    low, high = np.log(ratio)
    aspect = np.exp(low + (high - low) * draws[:, TRIES : 2 * TRIES])
    target = area * (heights * widths)[:, None]
    w = np.rint(np.sqrt(target * aspect)).astype(np.int64)
    h = np.rint(np.sqrt(target / aspect)).astype(np.int64)
    fits = (w > 0) & (w <= widths[:, None]) & (h > 0) & (h <= heights[:, None])
    first = np.argmax(fits, axis=1)
    rows = np.arange(len(draws))
    central = ~fits[rows, first]
    shape = np.stack([h[rows, first], w[rows, first]], axis=1)
    shape[central] = largest_within(heights[central], widths[central], ratio)
    room = np.stack([heights, widths], axis=1) - shape
    corner = np.floor(draws[:, 2 * TRIES : 2 * TRIES + 2] * (room + 1)).astype(np.int64)
    corner[central] = room[central] // 2
    return np.concatenate([corner, shape], axis=1)


def largest_within(heights: Ints, widths: Ints, ratio: tuple[float, float]) -> Ints:
    """(samples, 2) height and width of the largest box in each image whose width over height is within ``ratio``."""
    h = np.minimum(heights, np.rint(widths / ratio[0]).astype(np.int64))
    w = np.minimum(widths, np.rint(heights * ratio[1]).astype(np.int64))
    return np.stack([np.maximum(h, 1), np.maximum(w, 1)], axis=1)


def center_crops(heights: Ints, widths: Ints, ratio: float) -> Ints:
    """Central squares with a side of ``ratio`` times the image's short side: (samples, 4) as `random_crops`."""
    side = np.maximum((np.minimum(heights, widths) * ratio).astype(np.int64), 1)
    return np.stack([(heights - side) // 2, (widths - side) // 2, side, side], axis=1)
