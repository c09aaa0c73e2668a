"""Stage download: the selected images are fetched, round after round, until every class has its number.

The first round asks for the chosen ones, each later round for spares in place of what was dead (and of what the stage
clean has left out), somewhat more of them the more links were dead so far. A round is planned when the one before is
finished: start the stage again until it says that nothing is missing.

A shard is a folder with the images, ``00000.tar``, and a table, ``00000.parquet``, of the state of every URL and why.
"""

import io
import math
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import polars as pl

from data_prep.imagenot.blocklist import Blocklist
from data_prep.imagenot.build import Advance, Build, cannot_write, unseen, write_table
from data_prep.imagenot.stages.select import shuffled
from data_prep.imagenot.states import LATER, STATES, SUCCESS
from toolkit.files import temporary_name

CARRIED = ("id", "class", "rank", "score", "url", "caption", "license", "sample_id")
"""What is kept of the metadata beside each image."""
HASHES = ("sha256", "md5")
"""Of the file as it came; in the metadata, of the file as it should come."""
OUTCOME = (*CARRIED, "key", "status", "error_message", *HASHES)
LIST = "taken-down.txt"
TAR, TABLE = "00000.tar", "00000.parquet"


def shards(build: Build) -> list[str]:
    """The shards of all rounds that are planned: ``ROUND-SHARD``."""
    return [
        f"{path.stem.removeprefix('round-')}-{shard:05d}"
        for path in _rounds(build)
        for shard in pl.read_parquet(path, columns=["shard"])["shard"].unique().sort()
    ]


def plan(build: Build) -> int:
    """Plan the next round when all planned shards are finished; returns the number of URLs in it (0: no more to do)."""
    build.options.download.user_agent_header()  # who does not say who asks shall hear of it now
    if any(not build.is_finished("download", shard) for shard in shards(build)):
        return 0
    selected = pl.read_parquet(build.need("select", "selected.parquet"))
    fetched = outcomes(build)
    return _plan(build, next_round(selected, fetched, removed(build), build.options.select.per_class))


def plan_again(build: Build) -> int:
    """Plan a round of all URLs that failed for a passing reason; returns how many there are."""
    selected = pl.read_parquet(build.need("select", "selected.parquet"))
    passing = outcomes(build).filter(pl.col("status") == LATER)
    return _plan(build, selected.join(passing, on="id", how="semi"))


def _plan(build: Build, asked: pl.DataFrame) -> int:
    if len(asked):
        path = build.room("download") / f"round-{len(_rounds(build)):02d}.parquet"
        write_table(path, _sharded(asked, build.options.download.shard_urls))
    return len(asked)


def next_round(selected: pl.DataFrame, fetched: pl.DataFrame, left_out: pl.DataFrame, per_class: int) -> pl.DataFrame:
    """The rows of ``selected`` to ask for next: the first untried ones by rank, as many as each class will need.

    ``fetched`` holds ``id`` and ``status`` of all that was tried, ``left_out`` the ``id`` of what was removed since.
    """
    alive = fetched.filter(pl.col("status") == SUCCESS).join(left_out, on="id", how="anti")
    share = max(len(alive) / len(fetched), 0.1) if len(fetched) else 1.0
    have = selected.join(alive, on="id", how="semi").group_by("class").agg(have=pl.len())
    missing = (per_class - pl.col("have").fill_null(0)).clip(0)
    # Two standard deviations more than the mean of what it takes, so that few rounds fall short.
    asked = ((missing + 2 * (missing * (1 - share)).sqrt()) / share).ceil()
    return (
        selected.join(fetched, on="id", how="anti")
        .join(have, on="class", how="left")
        .sort("class", "rank")
        .filter(pl.int_range(pl.len()).over("class") < asked)
        .drop("have")
    )


def run(build: Build, shard: str, advance: Advance = unseen) -> None:
    """Fetch one shard into a folder ``SHARD``. Raises `Outage` when the network is down; the shard is not done then."""
    room = build.room("download")
    build.remove_leftovers("download", shard)
    round_, number = shard.split("-")
    rows = pl.read_parquet(room / f"round-{round_}.parquet").filter(pl.col("shard") == int(number))
    folder = temporary_name(room / shard)
    try:
        folder.mkdir(parents=True)
        table = _fetch(build, rows, folder / TAR, advance)
        write_table(folder / TABLE, table)
        shutil.rmtree(room / shard, ignore_errors=True)
        folder.replace(room / shard)
    except OSError as error:
        raise cannot_write(room / shard, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    states = Counter(table["status"])
    build.finish("download", shard, {"urls": len(table), **{state: states[state] for state in STATES}})


def _fetch(build: Build, rows: pl.DataFrame, path: Path, advance: Advance) -> pl.DataFrame:
    """Ask for all URLs, and write the images to a tar; returns the shard's table."""
    from data_prep.imagenot.shard_fetch import Outcome, Picture, Wanted, fetch

    def keep(number: int, picture: Picture) -> None:
        entry = tarfile.TarInfo(f"{keys[number]}.jpg")
        entry.size = len(picture.content)
        tar.addfile(entry, io.BytesIO(picture.content))
        advance(entry.size // 1000)

    keys = [f"{number:09d}" for number in range(len(rows))]
    hashes = [pl.col(name) if name in rows.columns else pl.lit(None).alias(name) for name in HASHES]
    wanted = [Wanted(*row) for row in rows.select("url", "sample_id", *hashes).iter_rows()]
    with tarfile.open(path, "w") as tar:
        outcomes = fetch(wanted, build.options.download, blocklist(build), keep)
    schema = dict(zip(Outcome._fields, (pl.String, pl.String, pl.Int64, pl.Int64, pl.String, pl.String), strict=True))
    return rows.select(CARRIED).hstack(pl.DataFrame(outcomes, schema, orient="row")).with_columns(key=pl.Series(keys))


def blocklist(build: Build) -> Blocklist:
    """What is not to be fetched: the file of the option ``block``, and all that was ever taken down."""
    files = [build.options.download.block] if build.options.download.block else []
    return Blocklist(Blocklist.read(files).entries | taken_down(build).entries)


def taken_down(build: Build) -> Blocklist:
    """What was ever taken down, of which no copy shall come back."""
    return Blocklist.read([file] if (file := build.path / LIST).exists() else [])


def outcomes(build: Build) -> pl.DataFrame:
    """Every URL that was asked for, as the last answer left it: `OUTCOME`, and the ``shard`` whose tar has ``key``."""
    frames = []
    for shard in shards(build):
        if build.is_finished("download", shard):
            table = pl.read_parquet(build.room("download") / shard / TABLE)
            columns = (pl.col(name) if name in table.columns else pl.lit(None).alias(name) for name in OUTCOME)
            texts = (pl.lit(shard).alias("shard"), pl.col("license", "sample_id", "error_message", *HASHES))
            frames.append(table.select(*columns).with_columns(texts[0], texts[1].cast(pl.String)))
    if not frames:
        return pl.DataFrame(schema=dict.fromkeys([*OUTCOME, "shard"], pl.String))
    return pl.concat(frames).unique("id", keep="last", maintain_order=True)


def removed(build: Build) -> pl.DataFrame:
    """The ``id`` of all images that the stage clean has left out so far."""
    path = build.room("clean") / "removed.parquet"
    return pl.read_parquet(path, columns=["id"]) if path.exists() else pl.DataFrame(schema={"id": pl.String})


def _rounds(build: Build) -> list[Path]:
    return sorted(build.room("download").glob("round-*.parquet"))


def _sharded(rows: pl.DataFrame, size: int) -> pl.DataFrame:
    """Rows dealt out to shards at random, so that no server gets many requests at a time."""
    mixed = rows.with_columns(draw=pl.Series(shuffled(rows["id"], 0), dtype=pl.UInt64)).sort("draw").drop("draw")
    return mixed.with_columns(shard=pl.int_range(pl.len()) % math.ceil(len(rows) / size))
