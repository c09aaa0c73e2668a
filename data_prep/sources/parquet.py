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
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, overload

from data_prep.sources import source as sources
from data_prep.sources.source import Found, Source
from data_prep.storage.samples import Sample
from toolkit.errors import ToolkitError, UsageError
from toolkit.imagefile.images import BadImage

SOURCE = Source(name="the folder's", title="", origin="")


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
        return content


@lru_cache(maxsize=1)
def _images(path: str, column: str, group: int) -> Any:
    return _open(Path(path)).read_row_group(group, [column], use_threads=False).column(0)


class Group(NamedTuple):
    """A row group, and the class of each of its rows as the file has it."""

    path: str
    column: str
    number: int
    classes: list[Any]


class Cells(Sequence[Sample]):
    """The rows of some row groups, with their labels. Holds a few numbers a row, so a million are no burden."""

    def __init__(self, groups: Sequence[Group], labels: Sequence[int]) -> None:
        self.places = [group[:3] for group in groups]
        self.ends = list(accumulate(len(group.classes) for group in groups))
        self.labels = array("L", labels)

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        group = bisect_right(self.ends, index)
        row = index - (self.ends[group - 1] if group else 0)
        path, column, number = self.places[group]
        key = f"{Path(path).name}, row group {number}, row {row}"
        return Sample(key, self.labels[index], Cell(path, column, number, row))


def main(argv: Sequence[str]) -> int:
    """Write one dataset."""
    options = sources.options("parquet", __doc__, SOURCE)
    sources.metric_option(options)
    options.add_argument("--image", metavar="COLUMN", help="the column of images")
    options.add_argument("--label", metavar="COLUMN", help="the column of classes")
    args = options.parse_args(argv)
    source = sources.of_folder(args, "Parquet files")
    return sources.write(args, source, lambda: find(args.root, args.image, args.label))


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
    if missing := {columns.image, columns.label} - set(table.schema_arrow.names):
        raise UsageError(f"{file} has no column {min(missing)}; it has {', '.join(table.schema_arrow.names)}")
    for number in range(table.num_row_groups):
        classes = table.read_row_group(number, [columns.label], use_threads=False).column(0).to_pylist()
        for label in classes:
            if label is None or (columns.names and label not in range(len(columns.names))):
                raise UsageError(f"{file} has label {label}, which is no class: is it a split without labels?")
        yield Group(str(file), columns.image, number, classes)


def _columns(file: Path, image: str | None, label: str | None) -> Columns:
    """The columns asked for, else those that the file's description or their names point to."""
    schema = _open(file).schema_arrow
    described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features: dict[str, Any] = described.get("info", {}).get("features", {})
    kinds = {feature["_type"]: name for name, feature in reversed(features.items()) if "_type" in feature}
    image = image or kinds.get("Image") or next((name for name in ("image", "img") if name in schema.names), None)
    label = label or kinds.get("ClassLabel") or ("label" if "label" in schema.names else None)
    if image is None or label is None:
        raise UsageError(
            f"{file}: looked for a column of images and one of classes; found {', '.join(schema.names)}: "
            "name them with --image and --label"
        )
    return Columns(image, label, tuple(features.get(label, {}).get("names", ())))


def _open(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise ToolkitError(f"{path} is no whole parquet file ({error}); fetch it again") from error
