"""Insects: British ground beetles to the species (Hansen et al. 2020).

Where from:  Kaggle, kmldas/insect-identification-from-habitus-images, or the data statement of doi:10.1002/ece3.5921
Licence:     CC BY 4.0 as the article; see the statement beside the images
Expects:     ROOT/database/SPECIES/*.jpg or ROOT/SPECIES/*.jpg, SPECIES being a number of GBIF, with folders below it
             or without; 63,364 images of 291 species

There is no validation split: 10% of each species are held out. Images shrink to 296 pixels on their shortest side
(the study's size; that it is the shortest side is our choice). The error that counts is top-5.
"""

from collections.abc import Sequence
from pathlib import Path

from data_prep.sources import source as sources
from data_prep.sources.source import Found, Source

SOURCE = Source(
    name="insects",
    title="British ground beetles",
    origin="Hansen et al. 2020, habitus images of ground beetles, Natural History Museum London, "
    "doi:10.1002/ece3.5921; CC BY 4.0",
    metric="top5",
    shortest_side=296,
)


def main(argv: Sequence[str]) -> int:
    """Write the dataset."""
    args = sources.options("insects", __doc__, SOURCE).parse_args(argv)
    return sources.run(args, SOURCE, lambda: find(args.root))


def find(root: Path) -> Found:
    """The folders that are named by a number, one a species."""
    folder = sources.first_of(root, "database") or root
    species = sorted(path.name for path in folder.glob("*/") if path.name.isdecimal())
    if not species:
        raise sources.wrong_layout(folder, "folders named by the number of a species (GBIF)")
    return Found({"train": sources.classes_below(folder, species)}, species)
