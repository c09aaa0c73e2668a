"""Any tree of images with one folder per class.

Expects ROOT/train/CLASS/* and ROOT/val/CLASS/*, or ROOT/CLASS/*; where there is no val, 10% of each class are held out.
Splits may be called train or training; val, valid, validation or dev; test or testing (it serves as val where there is
none, and is left alone, with a note, where there is). Upper and lower case don't matter.
Folders below a class folder count to the class. Labels follow the sorted names of the class folders. Every file in a
class folder is taken for an image but those whose ending says otherwise (.txt, .csv, ...), which are counted, and what
desktops and archivers leave behind (.DS_Store, __MACOSX, ...).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.sources.source import complain_of_test, counted, one_class_option
from data_prep.storage.image_tree import Splits, check_link, class_folders, class_tree, hold_out
from data_prep.storage.names import split_named
from data_prep.writing import options as cli
from toolkit.cli import parser
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from data_prep.storage.samples import Files
    from data_prep.writing.dataset import DatasetInfo

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
    name = args.name or args.root.resolve().name
    request = cli.WriteRequest.of(args, name)

    classes, trees = find(args.root, args.layout, args.follow_links)
    if len(classes) == 1 and not args.one_class:
        below = args.root / "train" / classes[0] if "val" in trees else args.root / classes[0]
        raise UsageError(
            f"{args.root} has one class, {classes[0]}: give {below} if its folders are meant, or --one-class"
        )
    splits: Splits = trees
    rule = ""
    if "val" not in trees:
        splits, rule = hold_out(trees["train"], trees["train"].labels, args.seed, classes)
    about = _about(args.root, classes, rule, counted(trees))
    cli.announce({request.path: request.write(splits, about)}, args.json)
    return 0


def _about(root: Path, classes: Sequence[str], rule: str, files: Mapping[str, Any]) -> "DatasetInfo":
    """What the manifest says of the tree."""
    from data_prep.writing.dataset import DatasetInfo, printable

    return DatasetInfo(
        [printable(name) for name in classes],
        source=f"folder {printable(str(root))}",
        split_rule=rule,
        provenance=files,
    )


def find(root: Path, layout: str | None, follow: bool = False) -> "tuple[list[str], Mapping[str, Files]]":
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
        raise UsageError(f"{root}: train and val have different classes ({', '.join(strange[:5])} in one only)")
    return classes, {split: class_tree(folder, classes, follow) for split, folder in parts.items()}


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
