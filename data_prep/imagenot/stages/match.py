"""Stage match: rows of LAION's metadata whose caption holds a lemma of exactly one class."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from data_prep.imagenot import options
from data_prep.imagenot.build import Advance, Build, Counts, cannot_write, total, unseen, write
from data_prep.imagenot.laion import COLUMNS, REASONS, TEXTS, Batch, Found, check_filters, drop_reason, read_batches
from data_prep.imagenot.lemmas import phrases
from data_prep.imagenot.matcher import Matcher
from data_prep.imagenot.stages import classes
from data_prep.wordnet import WordNet
from toolkit.errors import UsageError
from toolkit.files import atomic

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


def shards(build: Build) -> list[str]:
    """One shard for each source file. Raises `UsageError` when there are no sources."""
    if not build.options.match.sources:
        raise UsageError("match needs LAION's metadata: give --source FILE, FOLDER, PATTERN or URL")
    return [f"{number:05d}" for number in range(len(build.options.match.sources))]


def run(build: Build, shard: str, advance: Advance = unseen) -> None:
    """Match one source file, batch after batch, and write the rows that are left."""
    import pyarrow.parquet as pq

    section = build.options.match
    source = section.sources[int(shard)]
    matcher, wnids = load_matcher(build.path)
    output = build.room("match") / f"{shard}.parquet"
    found: Found = {}
    counts: list[Counts] = [dict.fromkeys(("rows", *REASONS, "no_class", "several", "matched"), 0)]
    try:
        with atomic(output) as temporary, pq.ParquetWriter(temporary, schema(), compression="zstd") as writer:
            for batch in read_batches(source, section.batch_rows):
                check_filters(source, batch.has, section)
                matched, counted = match_rows(shard, batch, section, matcher, wnids)
                writer.write_table(matched.to_arrow().cast(schema()))
                counts.append(counted)
                found = batch.found
                advance(len(batch.rows))
    except OSError as error:
        raise cannot_write(output, error) from error
    write(build.room("match") / f"columns-{shard}.json", orjson.dumps(found))
    build.finish("match", shard, total(counts))


def schema() -> "pa.Schema":
    """The columns of a shard of candidates: an id of our own, LAION's, and the class (wnid)."""
    import pyarrow as pa

    laion = [(name, pa.string() if name in TEXTS else pa.float64()) for name in COLUMNS]
    return pa.schema([("id", pa.string()), *laion, ("class", pa.string())])


def match_rows(
    shard: str, batch: Batch, section: options.Match, matcher: Matcher, wnids: "pl.Series"
) -> "tuple[pl.DataFrame, Counts]":
    """The rows of a batch that are candidates, and the counts of all rows by what became of them."""
    import polars as pl

    rows = batch.rows.with_columns(
        drop_reason(section, batch.has).alias("reason"),
        pl.format(f"{shard}-{{}}", pl.int_range(batch.first, batch.first + pl.len()).cast(pl.String).str.zfill(10))
        .alias("id"),
    )  # fmt: skip
    reasons = dict(rows["reason"].drop_nulls().value_counts().iter_rows())
    rows = rows.filter(pl.col("reason").is_null())
    found = matcher(rows["caption"])
    single = found.filter(pl.col("classes") == 1)
    matched = rows[single["row"]].with_columns(wnids.gather(single["label"]).alias("class"))
    counts = {
        "rows": len(batch.rows),
        **reasons,
        "no_class": len(rows) - len(found),
        "several": len(found) - len(single),
        "matched": len(single),
    }
    return matched.select(schema().names), counts


@lru_cache(maxsize=1)
def load_matcher(path: Path) -> "tuple[Matcher, pl.Series]":
    """The matcher of a build's classes, and their wnids by label."""
    import polars as pl

    build = Build.open(path)
    known = classes.load(build)
    irregular = WordNet(Path(build.options.classes.wordnet)).plurals()
    table = phrases(known, irregular, build.options.match.min_letters)
    return Matcher(table), pl.Series([each.wnid for each in known], dtype=pl.String)
