"""Stage match: rows of LAION's metadata whose caption holds a lemma of exactly one class."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from data_prep.imagenot import options
from data_prep.imagenot.build import Advance, Build, Counts, cannot_write, total, unseen, write
from data_prep.imagenot.laion import COLUMNS, REASONS, TEXTS, Batch, check_filters, drop_reason, read_batches
from data_prep.imagenot.lemmas import NONE, SEVERAL, Phrase, phrases
from data_prep.imagenot.stages import classes
from data_prep.wordnet import WordNet
from toolkit.errors import UsageError
from toolkit.files import atomic

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from data_prep.imagenot.matcher import Matcher

GROUP = 20_000
"""Candidates that are written at a time: as few as that, so that memory is bounded, and compress well all the same."""
WRITING = {"compression": "zstd", "use_dictionary": ["license", "nsfw", "language", "class"], "data_page_size": 1 << 17}
"""Of a URL or a caption there is one only: a dictionary of them would take memory and spare nothing."""


def shards(build: Build) -> list[str]:
    """One shard for each source file. Raises `UsageError` when there are no sources."""
    if not build.options.match.sources:
        raise UsageError("match needs LAION's metadata: give --source FILE, FOLDER, PATTERN or URL")
    return [f"{number:05d}" for number in range(len(build.options.match.sources))]


def run(build: Build, shard: str, advance: Advance = unseen) -> None:
    """Match one source file, batch after batch, and write the rows that are left."""
    import pyarrow.parquet as pq

    if build.is_of_old_rule():
        raise UsageError(
            f"{build.room('match')} was made by version 0.1, whose rule is no more; what is finished stays usable, and "
            "to go on, remove that folder and all later stages' to make them anew"
        )
    section = build.options.match
    source = section.sources[int(shard)]
    matcher, wnids = load_matcher(build)
    output = build.room("match") / f"{shard}.parquet"
    found: dict[str, Sequence[str]] = {}
    counts: list[Counts] = [dict.fromkeys(("rows", *REASONS, "no_class", "several", "matched"), 0)]

    def matches() -> "Iterator[pl.DataFrame]":
        for batch in read_batches(source, section.batch_rows):
            check_filters(source, batch.has, section)
            matched, counted = match_rows(shard, batch, section, matcher, wnids)
            counts.append(counted)
            found.update(batch.found)
            advance(len(batch.rows))
            yield matched

    try:
        with atomic(output) as temporary, pq.ParquetWriter(temporary, schema(), **WRITING) as writer:
            for group in _grouped(matches()):
                writer.write_table(group)
    except OSError as error:
        raise cannot_write(output, error) from error
    write(build.room("match") / f"columns-{shard}.json", orjson.dumps(found))
    build.finish("match", shard, total(counts))


def _grouped(frames: "Iterator[pl.DataFrame]") -> "Iterator[pa.Table]":
    """The rows of all frames, `GROUP` or somewhat more at a time."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    for frame in frames:
        waiting.append(frame.to_arrow().cast(schema()))  # a copy: the frame would hold the texts of its whole batch
        if sum(map(len, waiting)) >= GROUP:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def schema() -> "pa.Schema":
    """The columns of a shard of candidates: an id of our own, LAION's, and the class (wnid)."""
    import pyarrow as pa

    laion = [(name, pa.string() if name in TEXTS else pa.float64()) for name in COLUMNS]
    return pa.schema([("id", pa.string()), *laion, ("class", pa.string())])


def match_rows(
    shard: str, batch: Batch, section: options.Match, matcher: "Matcher", wnids: "pl.Series"
) -> "tuple[pl.DataFrame, Counts]":
    """The rows of a batch that are candidates, and the counts of all rows by what became of them."""
    import polars as pl

    rows = batch.rows.with_row_index("row", batch.first)
    reason = rows.select(drop_reason(section, batch.has)).to_series()
    reasons = dict(reason.drop_nulls().value_counts().iter_rows())
    passing = reason.is_null().arg_true()
    found = pl.Series(matcher(rows["caption"].gather(passing)), dtype=pl.Int32)
    is_single = found >= 0
    matched = rows[passing.filter(is_single)].with_columns(
        pl.format(f"{shard}-{{}}", pl.col("row").cast(pl.String).str.zfill(10)).alias("id"),
        wnids.gather(found.filter(is_single)).alias("class"),
    )
    counts = {
        "rows": len(rows),
        **reasons,
        "no_class": int((found == NONE).sum()),
        "several": int((found == SEVERAL).sum()),
        "matched": len(matched),
    }
    return matched.select(schema().names), counts


def load_matcher(build: Build) -> "tuple[Matcher, pl.Series]":
    """The matcher of a build's classes and rule, and the classes' wnids by label."""
    return _load_matcher(build.path, build.fingerprint("match"))


@lru_cache(maxsize=1)
def _load_matcher(path: Path, _made_from: str) -> "tuple[Matcher, pl.Series]":
    build = Build.open(path)
    return make_matcher(classes.load(build), build.options)


def make_matcher(known: Sequence[classes.Class], section: options.Options) -> "tuple[Matcher, pl.Series]":
    """The matcher of these classes by these options, and the classes' wnids by label."""
    import polars as pl

    from data_prep.imagenot.matcher import Matcher  # brings numba, which no other stage needs

    wnids = pl.Series([each.wnid for each in known], dtype=pl.String)
    return Matcher(find_phrases(known, section), section.match.rule), wnids


def find_phrases(known: Sequence[classes.Class], section: options.Options) -> dict[Phrase, set[int]]:
    """What is looked for."""
    return phrases(known, WordNet(Path(section.classes.wordnet)).plurals(), section.match)


def unfillable(known: Sequence[classes.Class], section: options.Options) -> list[str]:
    """Every class that the rule finds in no caption by itself, one line each."""
    import polars as pl

    captions = [" ".join(phrase) for phrase in find_phrases(known, section)]
    alone = set(make_matcher(known, section)[0](pl.Series(captions, dtype=pl.String)).tolist())
    return [
        f"{each.wnid} ({', '.join(each.lemmas)}) will stay empty: no caption stands for it alone by rule "
        f"{section.match.rule}"
        for label, each in enumerate(known)
        if label not in alone
    ]
