"""WebDataset shards: tar files as img2dataset and its like write them.

Where from:  your own (img2dataset --output_format webdataset), or any published set of shards
Licence:     that of the images; img2dataset leaves it to you
Expects:     *.tar below ROOT, uncompressed, in which files that share a name up to its first dot are one sample:
             an image (KEY.jpg, KEY.image.png or any ending of an image) and its class in KEY.cls, or in a field of
             KEY.json (--field)

Files or folders called train, val (validation, valid) or test tell the splits apart; test serves as val where there
is no other; without such names 10% of each class are held out. Classes are numbers or names; labels 0..k-1 follow the
numbers' values or the names' order. The images are read where they lie, nothing is unpacked.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from data_prep.sources import source as sources
from data_prep.sources.source import Found, Source
from data_prep.storage.image_tree import EXTENSIONS
from data_prep.storage.names import is_foreign
from data_prep.storage.samples import Span
from data_prep.storage.tar_entries import Spans, TarEntry, members, reading
from toolkit.errors import UsageError
from toolkit.files import LARGEST_RECORD

NO_IMAGE = "keys without an image"
"""As a failed download leaves them, or a format that no one here reads."""
SOURCE = Source(name="the folder's", title="", origin="")


class Labelled(NamedTuple):
    """An image of a shard, and its class as the shard has it."""

    shard: Path
    image: TarEntry
    name: str


def main(argv: Sequence[str]) -> int:
    """Write one dataset."""
    options = sources.options("webdataset", __doc__, SOURCE)
    sources.own_dataset_options(options)
    options.add_argument("--field", metavar="NAME", help="field of KEY.json that has the class (default: use KEY.cls)")
    args = options.parse_args(argv)
    return sources.run(
        args, sources.of_folder(args.root, "WebDataset shards", args.metric), lambda: find(args.root, args.field)
    )


def find(root: Path, field: str | None = None) -> Found:
    """The samples of all shards, in the order of the shards' names."""
    shards = sorted(root.rglob("*.tar"))
    if not shards:
        raise sources.wrong_layout(root, "*.tar")

    with reading(root):
        images, passed_over = {}, Counter[str]()
        for split, files in sources.by_split(root, shards).items():
            images[split] = [sample for shard in files for sample in _samples(shard, field, passed_over)]
    if empty := [split for split, of in images.items() if not of]:
        raise UsageError(f"{root}: no member of the {empty[0]} shards has an image's ending ({', '.join(EXTENSIONS)})")
    classes, labels = sources.labels_of({split: [sample.name for sample in of] for split, of in images.items()})
    spans = {split: _spans(of, labels[split]) for split, of in images.items()}
    spans["train"].passed_over = passed_over
    return Found(spans, classes)


def _samples(shard: Path, field: str | None, passed_over: Counter[str]) -> Iterator[Labelled]:
    """Those with an image; the others are counted."""
    for key, files in _grouped(shard):
        images = [kind for kind in files if f".{kind}".endswith(EXTENSIONS)]
        if len(images) > 1:
            raise UsageError(
                f"{shard}: {key} has {len(images)} images ({', '.join(images)}), and one is meant: keep one"
            )
        if images:
            yield Labelled(shard, files[images[0]], _class_of(shard, key, files, field))
        else:
            passed_over[NO_IMAGE] += 1


def _grouped(shard: Path) -> Iterator[tuple[str, dict[str, TarEntry]]]:
    """Neighbouring members by their common name, which ends at the first dot; what follows tells them apart."""
    own = (member for member in members(shard) if not any(map(is_foreign, member.name.removeprefix("./").split("/"))))
    for key, group in groupby(own, key=_key):
        files: dict[str, TarEntry] = {}
        for member in group:
            if files.setdefault(member.name[len(key) + 1 :].lower(), member) is not member:
                raise UsageError(f"{shard}: {member.name} is there twice, one after the other: which is meant?")
        yield key, files


def _key(member: TarEntry) -> str:
    folder, slash, file = member.name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _class_of(shard: Path, key: str, files: dict[str, TarEntry], field: str | None) -> str:
    kind = "json" if field else "cls"
    if kind not in files:
        raise UsageError(f"{shard}: looked for the class in {key}.{kind}; {key} has {', '.join(sorted(files))}")
    if files[kind].size > LARGEST_RECORD:
        raise UsageError(f"{shard}: {files[kind].name} has {files[kind].size:,} bytes, too many for a class")
    content = Span(str(shard), files[kind].start, files[kind].size).read()
    if field is None:
        try:
            return content.decode().strip()
        except UnicodeDecodeError as error:
            raise UsageError(f"{shard}: the class in {key}.cls is no UTF-8 text: {content[:40]!r}") from error
    try:
        value = json.loads(content)[field]
        if isinstance(value, str | int):
            return str(value)
        raise ValueError("neither a name nor a number")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{shard}: looked for the field {field} in {key}.json; found {content[:200]!r}") from error


def _spans(images: Sequence[Labelled], labels: Sequence[int]) -> Spans:
    spans = Spans()
    for image, label in zip(images, labels, strict=True):
        spans.add(image.shard, image.image, label)
    return spans
