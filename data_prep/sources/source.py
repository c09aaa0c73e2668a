"""What the source modules share: their options, the way from a folder to a dataset, saying what was looked for."""

import argparse
import csv
import io
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from data_prep.storage import image_tree as trees
from data_prep.storage.image_tree import class_tree, hold_out
from data_prep.storage.names import SPLIT, SPLITS
from data_prep.storage.samples import Sample, Samples
from data_prep.writing import options as cli
from toolkit.cli import parser, say
from toolkit.errors import UsageError
from toolkit.study.dataset import Manifest, Metric
from toolkit.texts import read_text

LISTED = 6  # names that a message shows of what was found
WITHHELD = "-1"
DIGITS = 4_300  # of the longest number that Python reads


class Source(NamedTuple):
    """What is known of a dataset before anyone looks at the files."""

    name: str
    title: str
    origin: str
    """Where the images come from and under what licence, in a line."""
    metric: Metric = "top1"
    write_mode: str = "jpg"
    shortest_side: int | None = None
    """In pixels, after writing; None: as the source."""


class Found(NamedTuple):
    """What lies in the user's folder."""

    splits: Mapping[str, Sequence[Sample]]
    """``train``, and ``val`` where the source has one."""
    classes: Sequence[str]
    class_names: Sequence[str] = ()
    split_rule: str = ""
    """Which part of the source is ``val``."""
    provenance: Mapping[str, Any] = MappingProxyType({})
    if_one_class: str = "see that its labels are read"
    """What to do about a single class, where none was meant."""


def options(module: str, doc: str | None, source: Source) -> argparse.ArgumentParser:
    """The parser of a source module: the user's folder, the dataset's name, the options of writing."""
    made = parser(f"data_prep.{module}", doc)
    made.add_argument("root", type=Path, help="the folder that has the files")
    made.add_argument("--name", help=f"the dataset's name (default: {source.name})")
    made.add_argument("--seed", type=int, default=0, help="what is drawn at random follows from it (default: 0)")
    cli.writing_options(made, source.write_mode, source.shortest_side)
    made.set_defaults(side="shortest", one_class=True)  # what is published has its classes
    return made


def own_dataset_options(options: argparse.ArgumentParser) -> None:
    """For modules that read any dataset in a format: what counts, and whether one class is meant."""
    options.add_argument("--metric", choices=("top1", "top5"), default="top1", help="what counts (default: top1)")
    one_class_option(options)


def one_class_option(options: argparse.ArgumentParser) -> None:
    """A set of one class is a mistake unless it is asked for: nothing can be told apart."""
    options.add_argument("--one-class", action="store_true", default=False, help="one class is meant, not a mistake")


def of_folder(root: Path, title: str, metric: Metric) -> Source:
    """What is known of a user's own dataset: its folder's name."""
    name = root.resolve().name
    return Source(name, f"{title} of {name}", f"folder {root}", metric)


@dataclass(frozen=True)
class SourceRequest:
    """Which folder becomes a dataset, and how."""

    root: Path
    dataset: cli.WriteRequest
    seed: int = 0
    """Of what is drawn at random: the images held out where nothing is for validation."""
    one_class: bool = False
    """A single class is meant, not a mistake."""


def write(request: SourceRequest, source: Source, find: Callable[[], Found]) -> Manifest:
    """Look at the user's folder and write the dataset, 10% of each class held out where nothing is for validation.

    Raises `UsageError` for a wrong layout.
    """
    from data_prep.writing.dataset import DatasetInfo, printable

    found = _looked_at(request.root, find)
    if len(found.classes) == 1 and not request.one_class:
        raise UsageError(f"{request.root} has one class, {found.classes[0]}: {found.if_one_class}, or --one-class")
    splits, rule = found.splits, found.split_rule
    if "val" not in splits:
        train = splits["train"]
        splits, rule = hold_out(train, [train[i].label for i in range(len(train))], request.seed, found.classes)
    _tell_twins(found.classes)
    about = DatasetInfo(
        classes=[printable(name) for name in found.classes],
        class_names=[printable(name) for name in found.class_names],
        title=printable(source.title),
        source=printable(source.origin),
        metric=source.metric,
        split_rule=rule,
        provenance={**found.provenance, **counted(found.splits)},
    )
    return request.dataset.write(splits, about)


def run(args: argparse.Namespace, source: Source, find: Callable[[], Found]) -> int:
    """The end of every source's verb: its options become a request, what was written is said; the exit status."""
    dataset = cli.WriteRequest.of(args, args.name or source.name)
    request = SourceRequest(args.root, dataset, args.seed, args.one_class)
    cli.announce({dataset.path: write(request, source, find)}, args.json)
    return 0


def _tell_twins(classes: Sequence[str]) -> None:
    """Name classes that differ in case, accents' encoding or blanks alone: one folder twice, or two by intent."""
    same: dict[str, list[str]] = {}
    for name in classes:
        same.setdefault(unicodedata.normalize("NFC", name).casefold().strip(), []).append(name)
    twins = [f"{' and '.join(map(repr, names))}" for names in same.values() if len(names) > 1]
    if twins:
        say(
            f"note: classes that differ in spelling alone are taken as different: {'; '.join(twins[:5])}", to=sys.stderr
        )


def counted(splits: Mapping[str, Sequence[Sample]]) -> dict[str, Any]:
    """For the manifest: images and what was passed over add up to the files seen. Empty where no files were counted."""
    counts = [of.passed_over for of in splits.values() if isinstance(of, Samples) and of.passed_over is not None]
    if not counts:
        return {}
    passed_over: Counter[str] = sum(counts, Counter())
    seen = sum(map(len, splits.values())) + passed_over.total()
    if passed_over:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(passed_over.items()))
        say(f"note: {passed_over.total()} of {seen:,} files are passed over ({kinds})", to=sys.stderr)
    return {"files_seen": seen, "passed_over": dict(passed_over)}


def _looked_at(root: Path, find: Callable[[], Found]) -> Found:
    try:
        return find()
    except OSError as error:  # a folder without permission, a disk that fails: whichever call meets it
        raise UsageError(f"{root}: {str(error)[:400]}") from error


def rows_of(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a table with commas or tabs. Raises `UsageError` when it lacks one of ``columns``, or a row does."""
    text = read_text(path)
    header = text.partition("\n")[0]
    try:
        table = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if "\t" in header else ",")
        rows = list(table)
    except csv.Error as error:
        raise UsageError(f"{path} is no table ({error})") from error
    if not rows or not set(columns) <= set(table.fieldnames or ()):
        raise UsageError(f"{path}: looked for the columns {' and '.join(columns)}; found {header.strip()[:200]}")
    for number, row in enumerate(rows, 2):
        if short := [name for name in columns if row[name] is None]:
            raise UsageError(f"{path}: entry {number} has no {short[0]}")
    return rows


def images_below(root: Path) -> tuple[list[str], Counter[str]]:
    """`data_prep.storage.image_tree.images_below`. Raises `UsageError` where there is no image."""
    if not root.is_dir():
        raise wrong_layout(root, "images")
    names, passed_over = trees.images_below(root)
    if not names:
        raise wrong_layout(root, "images at any depth")
    return names, passed_over


def classes_below(root: Path, classes: Sequence[str]) -> Sequence[Sample]:
    """The images in ``root/CLASS/`` for each of the classes."""
    if missing := [name for name in classes if not (root / name).is_dir()]:
        raise wrong_layout(root, f"a folder {missing[0]}/")
    return class_tree(root, classes)


def wrong_layout(folder: Path, wanted: str) -> UsageError:
    """The error that says what was looked for in ``folder``, and what is there."""
    if not folder.is_dir():
        return UsageError(f"{folder} is no folder: looked there for {wanted}")
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    found = (", ".join(names[:LISTED]) + more) or "nothing"
    return UsageError(f"{folder}: looked for {wanted}; found {found}")


def first_of(folder: Path, *names: str) -> Path | None:
    """The first of ``names`` that is in ``folder``."""
    return next((folder / name for name in names if (folder / name).exists()), None)


def by_split(folder: Path, files: Sequence[Path]) -> dict[str, list[Path]]:
    """Files by the split that their name, or else a folder's, speaks of; all are ``train`` when none speaks of any.

    ``test`` is the validation split where nothing is called validation, and passed over otherwise.
    """
    splits: dict[str, list[Path]] = {}
    for file in files:
        spoken = SPLIT.findall(file.relative_to(folder).as_posix().lower())
        splits.setdefault(SPLITS[spoken[-1]] if spoken else "", []).append(file)
    if splits.keys() == {""}:
        return {"train": splits[""]}
    if "train" not in splits:
        raise wrong_layout(folder, f"files called train beside {files[0].name}")
    if "" in splits:
        raise wrong_layout(folder, f"train, val or test in the name of every file, and {splits[''][0].name} has none")
    if "val" in splits and "test" in splits:
        complain_of_test(folder, f"test ({len(splits['test'])} of its files)")
    val = splits.get("val") or splits.get("test")
    return {"train": splits["train"], "val": val} if val else {"train": splits["train"]}


def complain_of_test(folder: Path, test: str) -> None:
    """Say that a third split, ``test``, is left alone: nothing is trained or judged on it."""
    say(f"note: {folder} has a split for validation and one for testing: {test} is not used", to=sys.stderr)


def labels_of(
    splits: Mapping[str, Sequence[str]], order: Sequence[str] = ()
) -> tuple[Sequence[str], dict[str, list[int]]]:
    """Classes in order, and labels by split, from the class of each sample.

    The order is ``order`` where it is known, else numbers by value and then names by alphabet. Raises `UsageError`
    for a class of ``val`` that ``train`` does not have, one that ``order`` does not know, and -1, which stands for
    labels that are withheld.
    """
    known = set(splits["train"])
    if WITHHELD in known.union(*splits.values()):
        raise UsageError(f"some images have label {WITHHELD}, which is no class but a label withheld: leave them out")
    if order and (unknown := known - set(order)):
        raise UsageError(f"label {min(unknown)} is none of the {len(order)} classes that the source names")
    if strangers := set(splits.get("val", ())) - known:
        raise UsageError(f"class {min(strangers)} has images in val and none in train")
    classes = order or sorted(known, key=_by_value)
    number = {name: label for label, name in enumerate(classes)}
    return classes, {split: [number[name] for name in of] for split, of in splits.items()}


def _by_value(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() and len(name) < DIGITS else (1, 0, name)
