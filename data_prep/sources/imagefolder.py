"""Any tree of images with one folder per class.

Expects ROOT/train/CLASS/* and ROOT/val/CLASS/*, or ROOT/CLASS/*; where there is no val, 10% of each class are held out.
Splits may be called train or training; val, valid, validation or dev; test or testing (it serves as val where there is
none, and is left alone, with a note, where there is). Upper and lower case don't matter.
Folders below a class folder count to the class. Labels follow the sorted names of the class folders. Every file in a
class folder is taken for an image but those whose ending says otherwise (.txt, .csv, ...), which are counted, and what
desktops and archivers leave behind (.DS_Store, __MACOSX, ...).
"""

from collections.abc import Sequence
from pathlib import Path

from data_prep.sources import source as sources
from data_prep.sources.source import Found, Source, complain_of_test, one_class_option
from data_prep.storage.image_tree import check_link, class_folders, class_tree
from data_prep.storage.names import split_named
from data_prep.writing import options as cli
from toolkit.cli import parser
from toolkit.errors import UsageError

LAYOUTS = ("splits", "classes")


def main(argv: Sequence[str]) -> int:
    """Write one dataset."""
    options = parser("data_prep.imagefolder", __doc__)
    options.add_argument("root", type=Path, help="the tree")
    options.add_argument("--name", help="the dataset's name (default: the tree's)")
    options.add_argument("--seed", type=int, default=0, help="of the held-out images (default: 0)")
    options.add_argument(
        "--layout", choices=LAYOUTS, help="what the folders of the tree are, where names leave it open"
    )
    one_class_option(options)
    options.add_argument("--follow-links", action="store_true", help="read what links out of the tree lead to")
    cli.writing_options(options)
    args = options.parse_args(argv)
    source = Source(args.root.resolve().name, title="", origin=f"folder {args.root}")
    return sources.run(args, source, lambda: find(args.root, args.layout, args.follow_links))


def find(root: Path, layout: str | None, follow: bool = False) -> Found:
    """The classes of a tree, sorted, and its images by split: ``train``, and ``val`` where there is one.

    Raises `UsageError` for whatever can be read in two ways, with the option that says which is meant.
    """
    folders = class_folders(root)
    if not folders:
        raise UsageError(f"{root} has no folders; expected train/ and val/, or one folder per class")
    parts = _splits(root, folders) if _has_splits(root, folders, layout) else {"train": root}
    for folder in parts.values():
        check_link(root, "" if folder == root else folder.name, follow)
    classes = class_folders(parts["train"])
    if not classes:
        raise UsageError(f"{parts['train']} has no folders; expected one folder of images per class")
    if "val" in parts and (strange := sorted(set(classes) ^ set(class_folders(parts["val"])))):
        raise UsageError(
            f"{root}: train and val have different classes ({', '.join(strange[:5])} in one only): "
            "leave these folders out, or give each split all classes"
        )
    return Found(
        {split: class_tree(folder, classes, follow) for split, folder in parts.items()},
        classes,
        if_one_class=f"give {parts['train'] / classes[0]} if its folders are meant",
    )


def _has_splits(root: Path, folders: Sequence[str], layout: str | None) -> bool:
    if layout:
        return layout == "splits"
    spoken = [name for name in folders if split_named(name)]
    if spoken and len(spoken) < len(folders):
        other = next(name for name in folders if not split_named(name))
        raise UsageError(f"{root} has {spoken[0]}/ beside {other}/: --layout splits (others are left out) or classes?")
    return bool(spoken)


def _splits(root: Path, folders: Sequence[str]) -> dict[str, Path]:
    """The folders of train and val. Raises `UsageError` for two of a kind, or none to train on."""
    named: dict[str, list[str]] = {}
    for name in folders:
        if split := split_named(name):
            named.setdefault(split, []).append(name)
    if double := next((names for names in named.values() if len(names) > 1), None):
        raise UsageError(f"{root} has {' and '.join(double)}, two folders of one split: leave one")
    if "train" not in named:
        raise UsageError(f"{root} has {', '.join(folders)} and nothing to train on: expected train/")
    if {"val", "test"} <= named.keys():
        complain_of_test(root, named["test"][0])
    judged = named.get("val") or named.get("test")
    return {"train": root / named["train"][0], **({"val": root / judged[0]} if judged else {})}
