"""LAION's metadata: parquet files in batches, columns found by the schema, and the filters that need no caption."""

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from data_prep.imagenot import options
from toolkit.errors import ToolkitError, UsageError

if TYPE_CHECKING:
    import polars as pl

COLUMNS = {
    "url": ("url", "image_url"),
    "caption": ("text", "caption"),
    "width": ("width", "original_width"),
    "height": ("height", "original_height"),
    "license": ("license",),
    "nsfw": ("nsfw",),
    "punsafe": ("punsafe",),
    "language": ("language",),
    "similarity": ("similarity",),
    "sample_id": ("sample_id", "id", "hash"),
}
"""What the releases call a column, whatever the case, by its name here."""
TEXTS = ("url", "caption", "license", "nsfw", "language", "sample_id")
REASONS = ("broken", "unsafe", "language", "small", "aspect")
"""Why a row is dropped before its caption is looked at; the first that applies counts. Broken: no caption or URL."""


class Batch(NamedTuple):
    """Consecutive rows of a file."""

    first: int
    """The number of the first row in the file."""
    rows: "pl.DataFrame"
    """With all columns of `COLUMNS`; what the file has not is null."""
    has: frozenset[str]
    """Those that the file has."""


def find_sources(patterns: Iterable[str]) -> list[str]:
    """Files and URLs that the paths, folders, patterns or fsspec URLs stand for, in order.

    Raises `UsageError` for what stands for none.
    """
    return [source for pattern in patterns for source in _find(pattern)]


def _find(pattern: str) -> list[str]:
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(pattern)
        if system.isdir(path):
            path = f"{path.rstrip('/')}/*.parquet"
        found = sorted(system.glob(path)) if any(c in path for c in "*?[") and not system.exists(path) else [path]
        if not found or not system.exists(found[0]):
            raise UsageError(f"--source {pattern}: there is no such parquet file")
        return [str(system.unstrip_protocol(name)) for name in found]
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(f"--source {pattern} cannot be looked up ({error})") from error


def read_batches(source: str, rows: int) -> Iterator[Batch]:
    """The rows of a parquet file, so many at a time.

    Raises `ToolkitError` naming the file when it cannot be read, is truncated, or has no column for URL or caption.
    """
    import fsspec
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = 0
    try:
        with fsspec.open(source, "rb") as file, pq.ParquetFile(file) as parquet:
            names = find_columns(source, parquet.schema_arrow.names)
            for batch in parquet.iter_batches(batch_size=rows, columns=list(names.values())):
                frame = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))
                yield Batch(first, frame.select(*_columns(names, frame)), frozenset(names))
                first += len(frame)
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ToolkitError(
            f"{source} cannot be read after row {first:,} ({reason}); fetch it again, then start this stage again: "
            "finished shards stay"
        ) from error


def find_columns(source: str, present: Iterable[str]) -> dict[str, str]:
    """The file's own column names by the names of `COLUMNS`. Raises `ToolkitError` without URL or caption."""
    own = {name.lower(): name for name in present}
    found = {ours: own[theirs] for ours, names in COLUMNS.items() for theirs in names[::-1] if theirs in own}
    for needed in ("url", "caption"):
        if needed not in found:
            raise ToolkitError(
                f"{source} has no column {' or '.join(COLUMNS[needed])} (it has {', '.join(sorted(own.values()))}); "
                "is it LAION's metadata?"
            )
    return found


def _columns(names: dict[str, str], frame: "pl.DataFrame") -> "Iterator[pl.Expr]":
    import polars as pl

    for ours in COLUMNS:
        column = pl.col(names[ours]) if ours in names else pl.lit(None)
        if ours == "sample_id" and ours in names and frame.schema[names[ours]].is_float():
            column = column.cast(pl.Int64, strict=False)  # a number all the same, and listed as 12, not 12.0
        yield column.cast(pl.String if ours in TEXTS else pl.Float64, strict=False).alias(ours)


def check_filters(source: str, has: Collection[str], section: options.Match) -> None:
    """Raise `ToolkitError` when a filter that is asked for finds no column in the file to go by."""
    if (section.safe or section.max_punsafe < 1) and not {"nsfw", "punsafe"} & set(has):
        raise ToolkitError(f"{source} has neither NSFW nor punsafe: --set safe= --set max_punsafe=1 goes without")
    if section.min_side and not {"width", "height"} <= set(has):
        raise ToolkitError(f"{source} has no WIDTH and HEIGHT: --set min_side=0 goes without")


def drop_reason(section: options.Match, has: Collection[str]) -> "pl.Expr":
    """Why a row is dropped (one of `REASONS`), or null when it stays.

    A row without the tag that a filter asks for does not pass it, unless the file ``has`` not that column.
    """
    import polars as pl

    sides = pl.min_horizontal("width", "height"), pl.max_horizontal("width", "height")
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
