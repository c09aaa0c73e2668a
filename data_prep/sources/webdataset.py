"""WebDataset shards: tar files as img2dataset and its like write them.

Where from:  your own (img2dataset --output_format webdataset), or any published set of shards
Licence:     that of the images; img2dataset leaves it to you
Expects:     *.tar below ROOT, uncompressed, in which files that share a name up to its first dot are one sample: an
             image (KEY.jpg, .jpeg, .png or .webp) and its class in KEY.cls, or in a field of KEY.json (--field)

Files or folders called train, val (validation, valid) or test tell the splits apart; test serves as val where there
is no other; without such names 10% of each class are held out. Classes are numbers or names; labels 0..k-1 follow the
numbers' values or the names' order. The images are read where they lie, nothing is unpacked.
"""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from data_prep.sources import source as sources
from data_prep.sources.source import Found, Source
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from data_prep.storage.tar_entries import Spans, TarEntry

FIRST_DOT = re.compile(r"\.(?=[^/]*$)")
IMAGES = ("jpg", "jpeg", "png", "webp")
SOURCE = Source(name="the folder's", title="", origin="")


class Labelled(NamedTuple):
    """An image of a shard, and its class as the shard has it."""

    shard: Path
    image: "TarEntry"
    name: str


def main(argv: Sequence[str]) -> int:
    """Write one dataset."""
    options = sources.options("webdataset", __doc__, SOURCE)
    sources.metric_option(options)
    options.add_argument("--field", metavar="NAME", help="field of KEY.json that has the class (default: use KEY.cls)")
    args = options.parse_args(argv)
    return sources.write(args, sources.of_folder(args, "WebDataset shards"), lambda: find(args.root, args.field))


def find(root: Path, field: str | None = None) -> Found:
    """The samples of all shards, in the order of the shards' names."""
    shards = sorted(root.rglob("*.tar"))
    if not shards:
        raise sources.wrong_layout(root, "*.tar")
    from data_prep.storage.tar_entries import reading

    with reading(root):
        images = {
            split: [sample for shard in files for sample in _samples(shard, field)]
            for split, files in sources.by_split(root, shards).items()
        }
    classes, labels = sources.labels_of({split: [sample.name for sample in of] for split, of in images.items()})
    return Found({split: _spans(of, labels[split]) for split, of in images.items()}, classes)


def _samples(shard: Path, field: str | None) -> Iterator[Labelled]:
    for key, files in _grouped(shard):
        image = next((files[kind] for kind in IMAGES if kind in files), None)
        if image is not None:
            yield Labelled(shard, image, _class_of(shard, key, files, field))


def _grouped(shard: Path) -> "Iterator[tuple[str, dict[str, TarEntry]]]":
    """Neighbouring members by their common name, which ends at the first dot; what follows tells them apart."""
    from data_prep.storage.tar_entries import members

    for key, group in groupby(members(shard), key=lambda member: FIRST_DOT.split(member.name)[0]):
        yield key, {member.name[len(key) + 1 :].lower(): member for member in group}


def _class_of(shard: Path, key: str, files: "dict[str, TarEntry]", field: str | None) -> str:
    from data_prep.storage.samples import Span

    kind = "json" if field else "cls"
    if kind not in files:
        raise UsageError(f"{shard}: looked for the class in {key}.{kind}; {key} has {', '.join(sorted(files))}")
    content = Span(str(shard), files[kind].start, files[kind].size).read()
    if field is None:
        return content.decode().strip()
    try:
        return str(json.loads(content)[field])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{shard}: looked for the field {field} in {key}.json; found {content[:200]!r}") from error


def _spans(images: Sequence[Labelled], labels: Sequence[int]) -> "Spans":
    from data_prep.storage.tar_entries import Spans

    spans = Spans()
    for image, label in zip(images, labels, strict=True):
        spans.add(image.shard, image.image, label)
    return spans
