"""Any tree of images with one folder per class.

Expects ROOT/train/CLASS/*.jpg and ROOT/val/CLASS/*.jpg, or ROOT/CLASS/*.jpg; in the second case 10% of each class are
held out for validation. Folders below a class folder count to the class. Labels follow the sorted names of the class
folders. Names without an image's extension are passed over.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from data_prep.writing import options as cli
from toolkit.cli import parser
from toolkit.errors import UsageError


def main(argv: Sequence[str]) -> int:
    """Write one dataset."""
    options = parser("data_prep.imagefolder", __doc__)
    options.add_argument("root", type=Path, help="the tree")
    options.add_argument("--name", help="the dataset's name (default: the tree's)")
    options.add_argument("--seed", type=int, default=0, help="of the held-out images (default: 0)")
    cli.writing_options(options)
    args = options.parse_args(argv)
    name = args.name or args.root.resolve().name
    cli.target(args, name)
    _write(args, name)
    return 0


def _write(args: argparse.Namespace, name: str) -> None:
    from data_prep.storage.image_tree import Splits, class_folders, class_tree, hold_out
    from data_prep.writing.dataset import DatasetInfo, printable

    split_rule = ""
    splits: Splits
    if (args.root / "train").is_dir() and (args.root / "val").is_dir():
        classes = class_folders(args.root / "train")
        if strange := sorted(set(classes) ^ set(class_folders(args.root / "val"))):
            raise UsageError(
                f"{args.root}: train and val have different classes ({', '.join(strange[:5])} in one only)"
            )
        splits = {split: class_tree(args.root / split, classes) for split in ("train", "val")}
    else:
        classes = class_folders(args.root)
        if not classes:
            raise UsageError(f"{args.root} has no folders; expected train/ and val/, or one folder per class")
        tree = class_tree(args.root, classes)
        splits, split_rule = hold_out(tree, tree.labels, args.seed)
    about = DatasetInfo(
        [printable(c) for c in classes], source=f"folder {printable(str(args.root))}", split_rule=split_rule
    )
    cli.write(args, name, splits, about)
