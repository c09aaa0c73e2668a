"""Metadata of images on the web: tables in batches, columns found by their names, and the filters that need no caption.

LAION's releases are what it was made for; DataComp, COYO-700M, Conceptual Captions and the like have the same columns
under other names. What a column is called says what it is taken for; an unknown one is not looked at.
"""

import csv
import io
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from data_prep.imagenot import options
from toolkit.errors import ToolkitError, UsageError
from toolkit.files import open_regular

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.parquet as pq

RELAION = "hf://datasets/laion/relaion2B-en-research-safe"
"""Re-LAION-5B's English part without what was found in 2023 and what is tagged as unsafe: docs/ethics.md."""
COLUMNS = {
    "url": ("url", "image_url"),
    "caption": ("text", "caption", "top_caption"),
    "width": ("original_width", "width"),
    "height": ("original_height", "height"),
    "license": ("license",),
    "nsfw": ("nsfw",),
    "punsafe": ("punsafe", "nsfw_score_opennsfw2", "nsfw_score_gantman"),
    "language": ("language",),
    "similarity": ("similarity", "clip_similarity_vitb32", "clip_b32_similarity_score"),
    "sample_id": ("sample_id", "uid", "id", "hash"),
    "sha256": ("sha256",),
    "md5": ("md5",),
}
"""What the releases call a column, whatever the case, by its name here. The first that is there, and is not empty, is
taken; of scores for unsafe images all are, and the largest counts. A width that an image had comes before one that it
was given; what a person wrote before what a model said of the picture (top_caption)."""
ALL_COUNT = "punsafe"
TEXTS = ("url", "caption", "license", "nsfw", "language", "sample_id", "sha256", "md5")
REASONS = ("broken", "unsafe", "language", "small", "aspect")
"""Why a row is dropped before its caption is looked at; the first that applies counts. Broken: no caption or URL."""
TABLES = (".parquet", ".tsv", ".csv", ".tsv.gz", ".csv.gz")
FOLDERS = ("*.parquet", "**/*.parquet", "*.[tc]sv", "*.[tc]sv.gz")
"""Of a folder, what the first of these finds."""
BUFFER = 1 << 16
"""Bytes of a column that are read at a time."""
LONGEST_FIELD = 1 << 24
SECRET_IN_URL = "credentials come from the environment alone (HF_TOKEN; AWS_ACCESS_KEY_ID and its like)"

Found = Mapping[str, Sequence[str]]
"""The file's own columns by the names of `COLUMNS`; those that say nothing are left out."""


class Batch(NamedTuple):
    """Consecutive rows of a file."""

    first: int
    """The number of the first row in the file."""
    rows: "pl.DataFrame"
    """With all columns of `COLUMNS`; what the file has not is null."""
    found: Found

    @property
    def has(self) -> frozenset[str]:
        """The columns that the file has."""
        return frozenset(self.found)


def find_sources(patterns: Iterable[str]) -> list[str]:
    """Files and URLs that the paths, folders, patterns or fsspec URLs stand for, in order.

    Raises `UsageError` for what stands for none.
    """
    return [source for pattern in patterns for source in _find(pattern)]


def _find(pattern: str) -> list[str]:
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    scheme, mark, rest = pattern.partition("://")
    if mark and scheme in ("hf", "s3") and "@" in rest.partition("/")[0]:
        raise UsageError(f"--source {scheme}://...: {SECRET_IN_URL}; leave them out of the URL")
    try:
        system, path = url_to_fs(pattern)
        found = _glob(system, path)
        system.info(found[0])  # says why there is nothing, where `exists` would say so alone
        for name in found if isinstance(system, LocalFileSystem) else ():
            os.close(open_regular(name))  # a pipe would be waited for
        return [str(system.unstrip_protocol(name)) for name in found]
    except (FileNotFoundError, IndexError) as error:
        kinds = ", ".join(TABLES)
        raise UsageError(f"--source {pattern}: there is no such table ({kinds}){_hint(scheme)}") from error
    except Exception as error:  # each storage's client has errors of its own
        raise UsageError(f"--source {pattern} cannot be looked up ({_words(error)}){_hint(scheme)}") from error


def _glob(system: Any, path: str) -> list[str]:
    """The files of a folder or pattern; a path that is neither is taken as it is."""
    if system.isdir(path):
        tried = (sorted(system.glob(f"{path.rstrip('/')}/{pattern}")) for pattern in FOLDERS)
        return next((files for files in tried if files), [])
    return sorted(system.glob(path)) if any(c in path for c in "*?[") and not system.exists(path) else [path]


def _hint(scheme: str) -> str:
    """What a storage asks for besides."""
    hints = {
        "hf": "; a set with terms is open to who has accepted them on its page, and has set HF_TOKEN",
        "s3": "; s3:// needs pip install 'imagenot-toolkit[s3]', and its credentials in the environment",
    }
    return hints.get(scheme, "")


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def read_batches(source: str, rows: int) -> Iterator[Batch]:
    """The rows of a table, so many at a time. A line of text with too many or too few fields is a row of nulls.

    Raises `ToolkitError` naming the file when it cannot be read, is truncated, or has no column for URL or caption.
    """
    import fsspec

    first = 0
    is_text = source.lower().endswith(TABLES[1:])
    try:
        with fsspec.open(source, "rb", compression="infer" if is_text else None) as file:
            for found, frame in _lines(source, file, rows) if is_text else _parquet(source, file, rows):
                yield Batch(first, frame.select(*_columns(found, frame)), found)
                first += len(frame)
    except ToolkitError:
        raise
    except Exception as error:  # each storage's client has errors of its own
        raise ToolkitError(
            f"{source} cannot be read after row {first:,} ({_words(error)}); fetch it again, then start this stage "
            "again: finished shards stay"
        ) from error


def _parquet(source: str, file: IO[bytes], rows: int) -> "Iterator[tuple[Found, pl.DataFrame]]":
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_memory_pool(pa.system_memory_pool())  # the others keep several times what is read at a time
    # Without a buffer, and side by side, whole columns of a row group would be held, however large it is.
    with pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False) as parquet:
        found = find_columns(source, parquet.schema_arrow.names, _empty(parquet.metadata))
        columns = [name for group in found.values() for name in group]
        for batch in parquet.iter_batches(batch_size=rows, columns=columns, use_threads=False):
            yield found, pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))


def _empty(metadata: "pq.FileMetaData") -> set[str]:
    """The columns that have nulls and NaN alone, as far as the statistics tell, whose minimum leaves out NaN."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    return {c.path_in_schema for c in chunks} - {c.path_in_schema for c in chunks if not _says_nothing(c)}


def _says_nothing(chunk: Any) -> bool:
    known, is_float = chunk.statistics, chunk.physical_type in ("FLOAT", "DOUBLE")
    if known is None:
        return False
    return (known.has_null_count and known.null_count == chunk.num_values) or (is_float and not known.has_min_max)


def _lines(source: str, file: IO[bytes], rows: int) -> "Iterator[tuple[Found, pl.DataFrame]]":
    """A CSV or TSV file. In the latter, as Conceptual Captions have it, quotes stand for themselves."""
    import polars as pl

    csv.field_size_limit(LONGEST_FIELD)
    text = io.TextIOWrapper(file, "utf-8-sig", "replace", newline="")
    is_tsv = ".tsv" in source[-7:].lower()
    reader = csv.reader(
        text, "excel-tab" if is_tsv else "excel", quoting=csv.QUOTE_NONE if is_tsv else csv.QUOTE_MINIMAL
    )
    names, lines = _names(source, reader)
    none, found = [None] * len(names), None
    while batch := [line if len(line) == len(names) else none for line in islice(lines, rows)]:
        frame = pl.DataFrame(batch, dict.fromkeys(names, pl.String), orient="row").select(pl.all().replace("", None))
        if found is None:
            found = find_columns(source, names, [name for name in names if frame[name].null_count() == len(frame)])
        yield found, frame


def _names(source: str, lines: Iterator[list[str]]) -> tuple[list[str], Iterator[list[str]]]:
    """The names of a text table's columns, and its lines; a first line with a URL names nothing, and is one of them."""
    first = next(lines, [])
    is_url = [field.lower().startswith(("http://", "https://")) for field in first]
    if not any(is_url):
        return first, lines
    if len(first) != 2 or all(is_url):
        raise ToolkitError(
            f"{source} has no line of names, and {len(first)} columns: put a line with their names first"
        )
    return ["url" if url else "caption" for url in is_url], chain([first], lines)


def find_columns(source: str, present: Iterable[str], empty: Collection[str] = ()) -> dict[str, list[str]]:
    """The file's own columns, without the ``empty`` ones, by the names of `COLUMNS`.

    Of two that differ in the case alone the one in capitals is taken, LAION's own. Raises `ToolkitError` without URL or
    caption.
    """
    own: dict[str, str] = {}
    for name in sorted(set(present) - set(empty), key=lambda name: (not name.isupper(), name)):
        own.setdefault(name.lower(), name)
    found = {ours: [own[theirs] for theirs in names if theirs in own] for ours, names in COLUMNS.items()}
    for needed in ("url", "caption"):
        if not found[needed]:
            its = ", ".join(sorted(own.values()))
            raise ToolkitError(
                f"{source} has no column {' or '.join(COLUMNS[needed][:2])} (it has {its}); is it LAION's metadata?"
            )
    return {ours: names if ours == ALL_COUNT else names[:1] for ours, names in found.items() if names}


def _columns(found: Found, frame: "pl.DataFrame") -> "Iterator[pl.Expr]":
    for ours in COLUMNS:
        yield _column(ours, [(name, frame.schema[name]) for name in found.get(ours, ())]).alias(ours)


def _column(ours: str, theirs: "Sequence[tuple[str, Any]]") -> "pl.Expr":
    """A column of ours from the file's: a text, or a number, of several the largest; null where any of them is."""
    import polars as pl

    if not theirs:
        return pl.lit(None, pl.String if ours in TEXTS else pl.Float64)
    if ours in TEXTS:
        name, kind = theirs[0]
        is_number = ours == "sample_id" and kind.is_float()  # a number all the same, and listed as 12, not 12.0
        column = pl.col(name).cast(pl.Int64, strict=False) if is_number else pl.col(name)
        return column.cast(pl.String, strict=False)
    numbers = [pl.col(name).cast(pl.Float64, strict=False).fill_nan(None) for name, _ in theirs]
    is_whole = pl.all_horizontal(number.is_not_null() for number in numbers)
    return pl.when(is_whole).then(pl.max_horizontal(numbers))


def check_filters(source: str, has: Collection[str], section: options.Match) -> None:
    """Raise `ToolkitError` when a filter that is asked for finds no column in the file to go by."""
    if (section.safe or section.max_punsafe < 1) and not {"nsfw", "punsafe"} & set(has):
        raise ToolkitError(
            f"{source} has neither NSFW nor {' nor '.join(COLUMNS['punsafe'])}, or they are empty, and so says of no "
            "image whether it is safe: --set safe= --set max_punsafe=1 goes without"
        )
    if section.min_side and not {"width", "height"} <= set(has):
        raise ToolkitError(f"{source} has no WIDTH and HEIGHT, or empty ones: --set min_side=0 goes without")


def drop_reason(section: options.Match, has: Collection[str]) -> "pl.Expr":
    """Why a row is dropped (one of `REASONS`), or null when it stays.

    A row without the tag that a filter asks for does not pass it, unless the file ``has`` not that column.
    """
    import polars as pl

    is_sized = pl.col("width").is_not_null() & pl.col("height").is_not_null()
    sides = pl.when(is_sized).then(pl.min_horizontal("width", "height")), pl.max_horizontal("width", "height")
    conditions = {
        "broken": ~pl.col("url").str.contains(r"^(?i)https?://[^\s]+$").fill_null(False) | pl.col("caption").is_null(),
        "unsafe": (~pl.col("nsfw").is_in(section.safe).fill_null(False) & bool("nsfw" in has and section.safe))
        | ((pl.col("punsafe").fill_null(1) > section.max_punsafe) & ("punsafe" in has)),
        "language": ~pl.col("language").is_in(section.languages).fill_null(False)
        & bool("language" in has and section.languages),
        "small": (sides[0].fill_null(0) < section.min_side),
        "aspect": (sides[1] > section.max_aspect * sides[0]).fill_null(False),
    }
    return pl.coalesce(*(pl.when(condition).then(pl.lit(name)) for name, condition in conditions.items()))
