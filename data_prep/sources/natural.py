"""Natural: six kinds of scenes (Intel Image Classification).

Where from:  Kaggle, puneet6060/intel-image-classification
Licence:     not stated beyond "data files (c) original authors": ask before you pass images on
Expects:     ROOT/seg_train/seg_train/CLASS/*.jpg and ROOT/seg_test/seg_test/CLASS/*.jpg, or both one folder less deep;
             about 14,000 and 3,000 images of 150 x 150 pixels. seg_pred has no labels and is passed over

seg_test is the validation split. The images pass through as they are.
"""

from collections.abc import Sequence
from pathlib import Path

from data_prep.sources import source as sources
from data_prep.sources.source import Found, Source

CLASSES = ("buildings", "forest", "glacier", "mountain", "sea", "street")
SOURCE = Source(
    name="natural",
    title="Intel natural scenes",
    origin="Intel Image Classification, Kaggle puneet6060/intel-image-classification; rights with the original authors",
)


def main(argv: Sequence[str]) -> int:
    """Write the dataset."""
    args = sources.options("natural", __doc__, SOURCE).parse_args(argv)
    return sources.run(args, SOURCE, lambda: find(args.root))


def find(root: Path) -> Found:
    """The two labelled parts of the distribution."""
    splits = {"train": _part(root, "seg_train"), "val": _part(root, "seg_test")}
    return Found(
        {split: sources.classes_below(folder, CLASSES) for split, folder in splits.items()},
        CLASSES,
        split_rule="seg_test is val",
    )


def _part(root: Path, name: str) -> Path:
    folder = sources.first_of(root, f"{name}/{name}", name)
    if folder is None:
        raise sources.wrong_layout(root, f"{name}/")
    return folder
