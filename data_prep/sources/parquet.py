"""Parquet files with images inside, as the Hugging Face hub has them.

Where from:  the hub (the data/ folder of a dataset's repository), or your own
Licence:     as the dataset's card says
Expects:     *.parquet below ROOT, with a column of images (bytes, or a struct with bytes and path) and a column of
             classes (numbers or names). Without --image and --label, the columns are those that the file's own
             description calls Image and ClassLabel, else those called image or img, and label

Files or folders called train, val (validation, valid) or test tell the splits apart (train-00000-of-00014.parquet);
test serves as val where there is no other; without such names 10% of each class are held out. Class names come from
the file's description. A worker holds one row group of images in memory at a time.
"""

import json
import os
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.sources import source as sources
from data_prep.sources.source import Found, Source
from data_prep.storage.samples import Sample, Samples, check_bytes
from toolkit.errors import ToolkitError, UsageError
from toolkit.files import open_regular
from toolkit.imagefile.format import BadImage

SOURCE = Source(name="the folder's", title="", origin="")
MOST_ROWS, LARGEST_GROUP = 100_000_000, 1 << 32
"""Rows of a file, and bytes of a row group's images, that are read (our choice): equal rows cost a file nothing."""
ROWS = 64
"""Rows that are unpacked at a time (our choice): a group of ImageNet's has 100 or more."""


class Columns(NamedTuple):
    """Which columns of a file matter, and the names of its classes (empty: the file does not say)."""

    image: str
    label: str
    names: tuple[str, ...]


class Cell(NamedTuple):
    """An image in a row of a parquet file."""

    path: str
    column: str
    group: int
    """Row group."""
    row: int
    """Within the row group."""

    def read(self) -> bytes:
        """The image file's bytes. Raises `BadImage` when there are none."""
        cell = _images(self.path, self.column, self.group)[self.row].as_py()
        content = cell["bytes"] if isinstance(cell, dict) else cell
        if not content:
            raise BadImage("has no bytes in its row")
        check_bytes(len(content))
        return content


@lru_cache(maxsize=1)
def _images(path: str, column: str, group: int) -> Any:
    return _read(Path(path), _open(Path(path)), group, column)


class Group(NamedTuple):
    """A row group, and the class of each of its rows as the file has it."""

    path: str
    column: str
    number: int
    classes: list[Any]


class Cells(Samples):
    """The rows of some row groups, with their labels."""

    def __init__(self, groups: Sequence[Group], labels: Sequence[int]) -> None:
        self.places = [group[:3] for group in groups]
        self.ends = list(accumulate(len(group.classes) for group in groups))
        self.labels = array("L", labels)

    def __len__(self) -> int:
        return len(self.labels)

    def sample(self, number: int) -> Sample:
        """The row of that number."""
        at = bisect_right(self.ends, number)
        row = number - (self.ends[at - 1] if at else 0)
        path, column, group = self.places[at]
        key = f"{Path(path).name}, row group {group}, row {row}"
        return Sample(key, self.labels[number], Cell(path, column, group, row))


def main(argv: Sequence[str]) -> int:
    """Write one dataset."""
    options = sources.options("parquet", __doc__, SOURCE)
    sources.own_dataset_options(options)
    options.add_argument("--image", metavar="COLUMN", help="the column of images")
    options.add_argument("--label", metavar="COLUMN", help="the column of classes")
    args = options.parse_args(argv)
    source = sources.of_folder(args.root, "Parquet files", args.metric)
    return sources.run(args, source, lambda: find(args.root, args.image, args.label))


def find(root: Path, image: str | None = None, label: str | None = None) -> Found:
    """All rows, in the order of the files' names."""
    files = sorted(root.rglob("*.parquet"))
    if not files:
        raise sources.wrong_layout(root, "*.parquet")
    columns = _columns(files[0], image, label)
    groups = {
        split: [group for file in of for group in _groups(file, columns)]
        for split, of in sources.by_split(root, files).items()
    }
    found = {split: [str(name) for group in of for name in group.classes] for split, of in groups.items()}
    numbers = [str(label) for label in range(len(columns.names))]  # two classes may have the same name
    classes, labels = sources.labels_of(found, numbers)
    return Found({split: Cells(of, labels[split]) for split, of in groups.items()}, classes, columns.names)


def _groups(file: Path, columns: Columns) -> Iterator[Group]:
    table = _open(file)
    _check_columns(file, table.schema_arrow, columns)
    _check_sizes(file, table.metadata, columns)
    for number in range(table.num_row_groups):
        classes = _read(file, table, number, columns.label).to_pylist()
        for label in classes:
            if label in (None, -1) or (columns.names and label not in range(len(columns.names))):
                raise UsageError(f"{file} has label {label}, which is no class: is it a split without labels?")
        yield Group(str(file), columns.image, number, classes)


def _check_columns(file: Path, schema: Any, columns: Columns) -> None:
    """Raises `UsageError` unless both columns are there, once, and hold images and classes."""
    from pyarrow import types

    for name in columns[:2]:
        if (count := schema.names.count(name)) != 1:
            is_there = "no column" if not count else f"{count} columns called"
            raise UsageError(f"{file} has {is_there} {name}; it has {', '.join(schema.names)}")
    image, label = (schema.field(name).type for name in columns[:2])
    content = image.field("bytes").type if types.is_struct(image) and image.get_field_index("bytes") >= 0 else image
    if not any(check(content) for check in (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)):
        raise UsageError(f"{file}: column {columns.image} holds {image}, and images are bytes or structs with bytes")
    name = label.value_type if types.is_dictionary(label) else label
    if not any(check(name) for check in (types.is_integer, types.is_boolean, types.is_string, types.is_large_string)):
        raise UsageError(f"{file}: column {columns.label} holds {label}, and classes are whole numbers or names")


def _check_sizes(file: Path, about: Any, columns: Columns) -> None:
    """Raises `UsageError` for more rows, or more bytes in a row group, than can be meant."""
    if about.num_rows > MOST_ROWS:
        raise UsageError(f"{file} has {about.num_rows:,} rows; at most {MOST_ROWS:,} are read")
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        chunks = [group.column(i) for i in range(group.num_columns)]
        size = sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] == columns.image)
        if size > LARGEST_GROUP:
            raise UsageError(f"{file}: row group {number} unpacks to {size:,} bytes: write it in smaller groups")


def _columns(file: Path, image: str | None, label: str | None) -> Columns:
    """The columns asked for, else those that the file's description or their names point to."""
    schema = _open(file).schema_arrow
    features = _features(schema.metadata or {})
    image = image or _described(file, features, "Image", "image") or _first(schema.names, "image", "img")
    label = label or _described(file, features, "ClassLabel", "label") or _first(schema.names, "label")
    if image is None or label is None:
        raise UsageError(
            f"{file}: looked for a column of images and one of classes; found {', '.join(schema.names)}: "
            "name them with --image and --label"
        )
    names = features.get(label, {}).get("names")
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return Columns(image, label, tuple(names))
    return Columns(image, label, ())


def _first(names: Sequence[str], *wanted: str) -> str | None:
    return next((name for name in wanted if name in names), None)


def _features(metadata: Mapping[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """What the hub's description says of each column; empty where there is none, or one that makes no sense."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _described(file: Path, features: Mapping[str, Mapping[str, Any]], kind: str, option: str) -> str | None:
    """The one column that the description calls ``kind``. Raises `UsageError` where there are two."""
    found = [name for name, feature in features.items() if feature.get("_type") == kind]
    if len(found) > 1:
        raise UsageError(f"{file} has {len(found)} columns of kind {kind} ({', '.join(found)}): give one as --{option}")
    return found[0] if found else None


def _read(file: Path, table: Any, group: int, column: str) -> Any:
    """A column of a row group, few rows at a time: equal values cost a file nothing, and memory each time."""
    import pyarrow as pa

    parts, size = [], 0
    try:
        for batch in table.iter_batches(ROWS, row_groups=[group], columns=[column], use_threads=False):
            parts.append(batch.column(0))
            size += batch.nbytes
            if size > LARGEST_GROUP:
                raise UsageError(
                    f"{file}: row group {group}, column {column} unpacks to more than {LARGEST_GROUP:,} bytes: "
                    "write it in smaller groups"
                )
        return pa.chunked_array(parts, parts[0].type if parts else pa.null())
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ToolkitError(f"{file}, row group {group}: {column} cannot be read ({error}); fetch it again") from error


def _open(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(os.fdopen(open_regular(path), "rb"))  # by its name Arrow would wait for a pipe
    except (pa.ArrowException, OSError) as error:
        raise ToolkitError(f"{path} is no whole parquet file ({error}); fetch it again") from error
