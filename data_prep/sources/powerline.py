"""Powerline: aerial pictures with and without power lines (Yetgin and Gerek 2019).

Where from:  Mendeley Data, "Powerline Image Dataset (Infrared-IR and Visible Light-VL)", doi:10.17632/n6wrv4ry6v.8
Licence:     MIT, as its page says
Expects:     anywhere below ROOT images whose file name or folder has TV (power line) or TY (none) as a word of its own,
             for instance Infrared (IR)/TV_0001.bmp or VL/TY/17.bmp; 4,000 infrared and 4,000 visible ones, half of
             each with lines, 128 x 128 pixels

Both kinds of pictures are used. There is no validation split: 10% of each class are held out.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from data_prep.sources import source as sources
from data_prep.sources.source import Found, Source
from data_prep.storage.samples import Files

CLASSES = {"TV": "power line", "TY": "no power line"}
WORD = re.compile(r"(?<![A-Za-z])(TV|TY)(?![A-Za-z])")
SOURCE = Source(
    name="powerline",
    title="Power lines, infrared and visible",
    origin="Yetgin and Gerek 2019, Powerline Image Dataset, doi:10.17632/n6wrv4ry6v.8; MIT",
)


def main(argv: Sequence[str]) -> int:
    """Write the dataset."""
    args = sources.options("powerline", __doc__, SOURCE).parse_args(argv)
    return sources.run(args, SOURCE, lambda: find(args.root))


def find(root: Path) -> Found:
    """The images, labelled by the word nearest to the end of their path."""
    names, passed_over = sources.images_below(root)
    words = [WORD.findall(name) for name in names]
    if missing := [name for name, found in zip(names, words, strict=True) if not found]:
        raise sources.wrong_layout(root, f"TV or TY in the path of every image, and {missing[0]} has neither")
    if {found[-1] for found in words} != set(CLASSES):
        raise sources.wrong_layout(root, "images of both classes, TV (power line) and TY (none)")
    labels = [list(CLASSES).index(found[-1]) for found in words]
    return Found({"train": Files(root, names, labels, passed_over)}, tuple(CLASSES), tuple(CLASSES.values()))
