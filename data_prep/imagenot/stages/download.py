"""Stage download: img2dataset fetches the selected images, round after round, until every class has its number.

The first round asks for the chosen ones, each later round for spares in place of what was dead (and of what the stage
clean has left out), somewhat more of them the more links were dead so far. A round is planned when the one before is
finished: start the stage again until it says that nothing is missing.
"""

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from data_prep.imagenot.build import Advance, Build, Counts, cannot_write, unseen, write_table
from data_prep.imagenot.stages.select import shuffled
from toolkit.errors import ToolkitError
from toolkit.files import temporary_name

if TYPE_CHECKING:
    import polars as pl

CARRIED = ["id", "class", "rank", "score", "license", "sample_id", "similarity"]
"""Columns that img2dataset lays beside each image."""
LEAST_ROOM = 1 << 16
"""Bytes that must be free on the disk for a shard to go on (our choice)."""


def shards(build: Build) -> list[str]:
    """The shards of all rounds that are planned: ``ROUND-SHARD``."""
    import polars as pl

    return [
        f"{path.stem.removeprefix('round-')}-{shard:05d}"
        for path in _rounds(build)
        for shard in pl.read_parquet(path, columns=["shard"])["shard"].unique().sort()
    ]


def plan(build: Build) -> int:
    """Plan the next round when all planned shards are finished; returns the number of URLs in it (0: no more to do)."""
    import polars as pl

    if any(not build.is_finished("download", shard) for shard in shards(build)):
        return 0
    selected = pl.read_parquet(build.need("select", "selected.parquet"))
    fetched = outcomes(build)
    asked = next_round(selected, fetched, removed(build), build.options.select.per_class)
    if len(asked):
        number = len(_rounds(build))
        path = build.room("download") / f"round-{number:02d}.parquet"
        write_table(path, _sharded(asked, build.options.download.shard_urls))
    return len(asked)


def next_round(
    selected: "pl.DataFrame", fetched: "pl.DataFrame", left_out: "pl.DataFrame", per_class: int
) -> "pl.DataFrame":
    """The rows of ``selected`` to ask for next: the first untried ones by rank, as many as each class will need.

    ``fetched`` holds ``id`` and ``status`` of all that was tried, ``left_out`` the ``id`` of what was removed since.
    """
    import polars as pl

    alive = fetched.filter(pl.col("status") == "success").join(left_out, on="id", how="anti")
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
    """Fetch one shard into a folder ``SHARD``: a tar of images, and a table with the status of every URL."""
    import polars as pl

    room = build.room("download")
    build.remove_leftovers("download", shard)
    round_, number = shard.split("-")
    rows = pl.read_parquet(room / f"round-{round_}.parquet").filter(pl.col("shard") == int(number))
    folder = temporary_name(room / shard)
    try:
        folder.mkdir(parents=True)
        write_table(folder / "urls.parquet", rows.select("url", "caption", *CARRIED))
        _fetch(build, folder, room / f"{shard}.log", advance)
        counts = _check(folder, len(rows), room / f"{shard}.log")
        shutil.rmtree(room / shard, ignore_errors=True)
        folder.replace(room / shard)
    except OSError as error:
        raise cannot_write(room / shard, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    build.finish("download", shard, counts)


def outcomes(build: Build) -> "pl.DataFrame":
    """Every URL that was tried: ``status``, ``shard`` and ``key`` (in its tar), and the `CARRIED` columns."""
    import polars as pl

    columns = [
        "id",
        "class",
        "rank",
        "status",
        "key",
        "url",
        "caption",
        "license",
        "sample_id",
        "score",
        "error_message",
    ]
    frames = [
        pl.read_parquet(build.room("download") / shard / "00000.parquet", columns=columns).with_columns(
            pl.lit(shard).alias("shard"), pl.col("license", "sample_id", "error_message").cast(pl.String)
        )
        for shard in shards(build)
        if build.is_finished("download", shard)
    ]
    return pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys([*columns, "shard"], pl.String))


def removed(build: Build) -> "pl.DataFrame":
    """The ``id`` of all images that the stage clean has left out so far."""
    import polars as pl

    path = build.room("clean") / "removed.parquet"
    return pl.read_parquet(path, columns=["id"]) if path.exists() else pl.DataFrame(schema={"id": pl.String})


def _rounds(build: Build) -> list[Path]:
    return sorted(build.room("download").glob("round-*.parquet"))


def _sharded(rows: "pl.DataFrame", size: int) -> "pl.DataFrame":
    """Rows dealt out to shards at random, so that no server gets many requests at a time."""
    import polars as pl

    mixed = rows.with_columns(draw=pl.Series(shuffled(rows["id"], 0), dtype=pl.UInt64)).sort("draw").drop("draw")
    return mixed.with_columns(shard=pl.int_range(pl.len()) % math.ceil(len(rows) / size))


def _fetch(build: Build, folder: Path, log: Path, advance: Advance) -> None:
    with log.open("wb") as output:
        status = _img2dataset(arguments(build, folder), output, folder / "00000.tar", advance)
    if status:
        last = next(iter(log.read_text(errors="replace").strip().splitlines()[-1:]), "it said nothing")
        raise ToolkitError(f"img2dataset failed: {last} (all of it: {log})")


def _img2dataset(arguments: dict[str, Any], log: IO[bytes], tar: Path, advance: Advance) -> int:
    """Its exit status; meanwhile ``advance`` is told how many kB were added to the tar. See `fetch`."""
    command = [sys.executable, "-m", "data_prep.imagenot.fetch"]
    seen = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, process_group=0) as process:
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(arguments).encode() + b"\n")
            process.stdin.flush()
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0.5)
                size = tar.stat().st_size // 1000 if tar.exists() else 0
                advance(size - seen)
                seen = size
                _check_room(tar.parent, Path(log.name))
        except BrokenPipeError:  # it ended at once, and its log says why
            process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode


def _check_room(folder: Path, log: Path) -> None:
    """Raise OSError when the disk is full: img2dataset goes on then, and may wait for ever for what it cannot write."""
    said = log.read_text(errors="replace")
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if f"[Errno {number}]" in said:
            raise OSError(number, os.strerror(number))
    if shutil.disk_usage(folder).free < LEAST_ROOM:  # the log could not say so either
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def arguments(build: Build, folder: Path) -> dict[str, Any]:
    """What img2dataset is called with, for the ``urls.parquet`` in ``folder``."""
    section = build.options.download
    return {
        "url_list": str(folder / "urls.parquet"),
        "input_format": "parquet",
        "url_col": "url",
        "caption_col": "caption",
        "save_additional_columns": CARRIED,
        "output_folder": str(folder),
        "output_format": "webdataset",
        "number_sample_per_shard": 1_000_000,  # one tar
        "processes_count": 1,
        "thread_count": section.threads,
        "image_size": section.image_size,
        "resize_mode": "keep_ratio",
        "resize_only_if_bigger": True,
        "encode_quality": section.quality,
        "timeout": section.timeout_s,
        "retries": section.retries,
        "extract_exif": False,
        "disallowed_header_directives": list(section.directives),
        "user_agent_token": section.user_agent or None,
    }


def _check(folder: Path, urls: int, log: Path) -> Counts:
    """Counts by status. img2dataset ends well whatever happens, so its table is what tells."""
    import polars as pl

    table = folder / "00000.parquet"
    if not table.exists() or not (folder / "00000.tar").exists():
        raise ToolkitError(f"img2dataset wrote nothing into {folder.name}; what it said: {log}")
    status = pl.read_parquet(table, columns=["status"])["status"]
    if len(status) != urls:
        raise ToolkitError(f"img2dataset wrote {len(status)} of {urls} outcomes; what it said: {log}")
    counts: Counts = {"urls": urls, "success": 0, "failed_to_download": 0, "failed_to_resize": 0}
    return counts | dict(status.value_counts().iter_rows())
