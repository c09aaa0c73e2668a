"""MLC2008: corals and their neighbours, patches around the points annotated in 2008 (Beijbom et al. 2012).

Where from:  Environmental Data Initiative, package knb-lter-mcr.5006, "Moorea Labeled Corals", the archive of 2008
Licence:     CC BY 4.0
Expects:     ROOT/2008/NAME.jpg with ROOT/2008/NAME.jpg.txt beside each photograph, or the archive's own folders above
             2008; a text file has lines "row; column; label", 200 a photograph, after a line that begins with #;
             671 photographs with 131,260 points of the nine classes, other labels are passed over

An image is the square of 312 pixels around a point, moved inwards where it would leave the photograph. The study has
43,000 images and does not say which: as many points are drawn here at random (--patches; our choice), which keeps the
classes as skewed as they are. 10% of each class are held out, patch by patch as in the study: patches of one
photograph may overlap, and may lie on both sides.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_prep.sources import source as sources
from data_prep.sources.source import Found, Source
from data_prep.storage.samples import File, Sample
from toolkit.errors import UsageError
from toolkit.imagefile.format import BadImage, Pixels
from toolkit.texts import read_text

CLASSES = {
    "CCA": "crustose coralline algae",
    "Turf": "turf algae",
    "Macro": "macroalgae",
    "Sand": "sand",
    "Acrop": "Acropora",
    "Pavon": "Pavona",
    "Monti": "Montipora",
    "Pocill": "Pocillopora",
    "Porit": "Porites",
}
LABELS = {name.lower(): label for label, name in enumerate(CLASSES)}  # the files write them in any case
SIDE = 312
"""Pixels (Tuggener et al. 2022, table of datasets)."""
PATCHES = 43_000
SOURCE = Source(
    name="mlc2008",
    title="Moorea Labeled Corals 2008",
    origin="Beijbom et al. 2012, Moorea Labeled Corals, EDI package knb-lter-mcr.5006; CC BY 4.0",
)


class Patch(NamedTuple):
    """The square of `SIDE` pixels around a point of a photograph."""

    photograph: str
    row: int
    column: int

    def read(self) -> Pixels:
        """The pixels, (SIDE, SIDE, 3). Raises `BadImage` when the photograph is smaller."""
        photograph = _photograph(self.photograph)
        height, width, _ = photograph.shape
        if min(height, width) < SIDE:
            raise BadImage(f"is {width} x {height} pixels, smaller than a patch of {SIDE}")
        top = min(max(self.row - SIDE // 2, 0), height - SIDE)
        left = min(max(self.column - SIDE // 2, 0), width - SIDE)
        return photograph[top : top + SIDE, left : left + SIDE]


@lru_cache(maxsize=1)  # the points of a photograph come one after another
def _photograph(path: str) -> Any:
    from toolkit.imagefile.images import check_area, opened

    with opened(File(path).read()) as image:
        check_area(*image.size)
        return np.asarray(image.convert("RGB"))


def main(argv: Sequence[str]) -> int:
    """Write the dataset."""
    options = sources.options("mlc2008", __doc__, SOURCE)
    options.add_argument("--patches", type=int, default=PATCHES, metavar="N", help="points drawn (default: 43000)")
    args = options.parse_args(argv)
    if args.patches < 1:
        raise UsageError(f"--patches is at least 1, not {args.patches}")
    return sources.run(args, SOURCE, lambda: find(args.root, args.patches, args.seed))


def find(root: Path, patches: int, seed: int) -> Found:
    """As many points as wanted, drawn from those of the nine classes, in the order of the files."""
    folder = _year(root)
    points = [point for file in sorted(folder.glob("*.txt")) for point in _points(file)]
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.permutation(len(points))[:patches]).tolist()
    samples = [
        Sample(f"{Path(patch.photograph).name} at {patch.row}, {patch.column}", label, patch)
        for patch, label in map(points.__getitem__, drawn)
    ]
    rule = {"points": len(points), "patches": len(samples), "side": SIDE, "seed": seed}
    return Found({"train": samples}, tuple(CLASSES), tuple(CLASSES.values()), provenance=rule)


def _year(root: Path) -> Path:
    for folder in (root, *sorted(root.glob("2008")), *sorted(root.glob("*/2008")), *sorted(root.glob("*/*/2008"))):
        if any(folder.glob("*.jpg.txt")):
            return folder
    raise sources.wrong_layout(root, "2008/ with photographs and their annotations (NAME.jpg and NAME.jpg.txt)")


def _points(file: Path) -> list[tuple[Patch, int]]:
    """The points of one annotation file that are of the nine classes, with their labels."""
    points = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            try:
                row, column, name = line.split(";")
                patch = Patch(str(file.with_suffix("")), int(row), int(column))
            except ValueError as error:
                raise UsageError(
                    f'{file}, line {number}: looked for "row; column; label", found {line[:80]!r}'
                ) from error
            if (label := LABELS.get(name.strip().lower())) is not None:
                points.append((patch, label))
    return points
