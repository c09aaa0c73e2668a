"""Renders labelled images: datasets for trying things out, in two families that reward different nets.

  textures  a class is how strong the fine grain is, all over the picture: one number, to be read before a net has
            shrunk the picture. A narrow last stage holds it; group or layer norm divides it away
  shapes    a class is one large outline, filled, a little turned, moved and scaled, among small ones of no class: one
            of many, told from the whole picture. The last stages must be wide; contrast tells nothing

Neither colour, brightness nor place tells anything of the class, and mirroring keeps it. Pictures depend on the seed,
family, number of classes, split and their number alone. Without arguments both families are written, as demo-textures
and demo-shapes.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from data_prep.storage.samples import Sample
from data_prep.writing import options as cli
from toolkit.cli import parser
from toolkit.errors import UsageError
from toolkit.study.dataset import Manifest

Family = Literal["textures", "shapes"]
FAMILIES: tuple[Family, ...] = ("textures", "shapes")
Plane = NDArray[np.float64]
SPLITS = ("train", "val")
SMALLEST = 8  # pixels
CLASSES: dict[Family, int] = {"textures": 10, "shapes": 40}
FINE = 4  # pixels: no wave of a texture's grain is longer


class Picture(NamedTuple):
    """One image of a family, rendered when it is read."""

    family: Family
    label: int
    classes: int
    size: int
    """Side in pixels."""
    seed: int
    split: int
    number: int

    def read(self) -> NDArray[np.uint8]:
        """The pixels, (size, size, 3)."""
        family = FAMILIES.index(self.family)
        rng = default_rng([self.seed, family, self.split, self.number])
        if self.family == "textures":
            plane = _texture(0.45 * 2.6 ** (self.label / self.classes), rng, self.size)
        else:
            plane = _shape(default_rng([self.seed, self.label]), rng, self.size)
        return _coloured(plane, rng)


def _texture(strength: float, rng: Generator, size: int) -> Plane:
    """Noise of `FINE` waves, its strength the class's, over clouds."""
    waves = np.fft.rfft2(rng.standard_normal((size, size))) * (_frequency(size) > 1 / FINE)
    return strength * np.fft.irfft2(waves, (size, size)) + 0.3 * _clouds(rng, size)


def _shape(of_class: Generator, rng: Generator, size: int) -> Plane:
    """The class's outline, filled, over clutter made of small outlines of no class."""
    plane = 0.3 * _clouds(rng, size) + 0.1 * rng.standard_normal((size, size)) - 1.2
    for _ in range(rng.integers(0, 3)):
        plane += 1.5 * _filled(_outline(rng), rng, size, rng.uniform(0.05, 0.1))
    return plane + 2.5 * _filled(_outline(of_class), rng, size, rng.uniform(0.32, 0.38))


def _outline(rng: Generator) -> Plane:
    """Radius of a closed line at 360 angles, symmetric about the vertical, mean 1."""
    angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    waves = np.arange(2, 7)
    heights = rng.standard_normal(len(waves)) / waves
    heights *= 0.6 / np.sqrt((heights**2).sum())
    return 1 + heights @ np.cos(np.outer(waves, angles))


def _filled(outline: Plane, rng: Generator, size: int, radius: float) -> Plane:
    """1 inside the outline, 0 outside, smooth at its edge; ``radius`` is a share of the plane's side."""
    low = min(1.2 * radius, 0.5)
    x, y = rng.uniform(low, 1 - low, 2) * size
    rows, columns = np.mgrid[:size, :size]
    angle = np.arctan2(columns - x, rows - y) + rng.uniform(-0.2, 0.2)
    edge = outline[(angle * 180 / np.pi).astype(int) % 360] * radius * size
    return np.clip(edge - np.hypot(columns - x, rows - y) + 0.5, 0, 1)


def _clouds(rng: Generator, size: int) -> Plane:
    """Smooth noise whose power falls with the square of the frequency, unit variance."""
    frequency = _frequency(size)
    frequency[0, 0] = np.inf
    plane = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) / frequency, (size, size))
    return plane / plane.std()


def _frequency(size: int) -> Plane:
    """Waves a pixel of each number that ``rfft2`` gives of a plane."""
    return np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])


def _coloured(plane: Plane, rng: Generator) -> NDArray[np.uint8]:
    """The plane as brightness, with a tint of the picture's own."""
    return (255 * np.clip(rng.uniform(0.45, 0.55, 3) + 0.17 * plane[..., None], 0, 1)).round().astype(np.uint8)


def main(argv: Sequence[str]) -> int:
    """Write one dataset, or the two of the demo."""
    options = parser("data_prep.synthetic", __doc__)
    options.add_argument("--family", choices=FAMILIES, help="write this one family (default: both)")
    options.add_argument("--name", help="the dataset's name (default: demo-FAMILY)")
    options.add_argument("--classes", type=int, help="number of classes (default: 10 textures, 40 shapes)")
    options.add_argument("--train", type=int, default=1024, help="training images, classes in turn (default: 1024)")
    options.add_argument("--val", type=int, default=500, help="validation images (default: 500)")
    options.add_argument("--size", type=int, default=40, help="side in pixels (default: 40)")
    options.add_argument("--seed", type=int, default=0, help="what all pictures derive from (default: 0)")
    cli.writing_options(options, write_mode="raw")
    args = options.parse_args(argv)
    if args.name and not args.family:
        raise UsageError("--name names one dataset: give --family textures or --family shapes with it")
    counts = [count for count in (args.classes, args.train, args.val) if count is not None]
    if min(counts) < 1 or args.size < SMALLEST or args.seed < 0:
        raise UsageError(f"--classes, --train and --val are at least 1, --size at least {SMALLEST}, --seed at least 0")
    families: tuple[Family, ...] = (args.family,) if args.family else FAMILIES
    requests = {family: cli.WriteRequest.of(args, args.name or f"demo-{family}") for family in families}
    pictures = {key: getattr(args, key) for key in ("classes", "train", "val", "size", "seed")}
    cli.announce({r.path: _write(r, family, pictures) for family, r in requests.items()}, args.json)
    return 0


def _write(request: cli.WriteRequest, family: Family, pictures: Mapping[str, Any]) -> Manifest:
    """Write the pictures of one family; ``pictures``: how many (classes, train, val), their size, and the seed."""
    from data_prep.writing.dataset import DatasetInfo

    classes = pictures["classes"] or CLASSES[family]
    options = {**pictures, "classes": classes}
    splits = {
        split: [
            Sample(
                f"{split}/{number}",
                label,
                Picture(family, label, classes, options["size"], options["seed"], SPLITS.index(split), number),
            )
            for number, label in zip(range(options[split]), itertools.cycle(range(classes)))
        ]
        for split in SPLITS
    }
    about = DatasetInfo(
        classes=[f"{family}-{label}" for label in range(classes)],
        title=f"Synthetic {family}",
        source="rendered by data_prep.synthetic; free for any use",
        provenance={"family": family, **options},
    )
    return request.write(splits, about)
