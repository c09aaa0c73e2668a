"""Takes images down: out of the tars, out of what is kept for the dataset, and out of later rounds.

An image goes with all its copies: those of the same bytes, and those that the stage clean takes for near duplicates.
Its hashes stay in the build's list, so that no copy comes back.
"""

import os
import tarfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import polars as pl

from data_prep.imagenot.blocklist import PHASH, Blocklist
from data_prep.imagenot.build import Build, write, write_table
from data_prep.imagenot.stages import clean, download
from data_prep.imagenot.states import STATES, SUCCESS, TAKEN_DOWN
from toolkit.errors import ToolkitError
from toolkit.study.dataset import MANIFEST, Manifest


def take_down(build: Build, listed: str) -> dict[str, int]:
    """Take down all images of a build that a blocklist file names, and their copies; returns how many there were.

    Raises `UsageError` when the file cannot be read. Killed in between, it does the rest when it is called again.
    """
    entries = Blocklist.read([listed]).entries | download.taken_down(build).entries
    images = _images(build)
    hits = _with_copies(images, Blocklist(entries), build.options.clean.distance)
    _remember(build, entries, hits)
    for (shard,), of in hits.group_by("shard"):
        _erase(build, str(shard), set(of["key"]))
    kept = build.room("clean") / clean.KEPT
    if kept.exists():
        write_table(kept, pl.read_parquet(kept).join(hits, on="id", how="anti"))
    return {"images": len(hits), "shards": hits["shard"].n_unique(), "left": len(images) - len(hits)}


def _images(build: Build) -> pl.DataFrame:
    """All images that came, with the perceptual hashes of those that were looked at."""
    came = download.outcomes(build).filter(pl.col("status") == SUCCESS)
    paths = ((shard, build.room("clean") / f"{shard}.parquet") for shard in download.shards(build))
    looks = [
        pl.read_parquet(path, columns=["key", "phash", "reason"]).with_columns(shard=pl.lit(shard))
        for shard, path in paths
        if path.exists()
    ]
    schema = {"key": pl.String, "phash": pl.UInt64, "reason": pl.String, "shard": pl.String}
    known = pl.concat([pl.DataFrame(schema=schema), *looks])
    was_hashed = known["reason"].is_null() | (known["reason"] == "flat")
    return came.join(known.filter(was_hashed).drop("reason"), on=["shard", "key"], how="left")


def _with_copies(images: pl.DataFrame, listed: Blocklist, distance: int) -> pl.DataFrame:
    columns = images.select("id", "sample_id", "url", *download.HASHES).iter_rows()
    hits = images.filter(pl.Series([listed.names(*row) for row in columns], dtype=pl.Boolean))
    hashes = np.array([*hits["phash"].drop_nulls(), *listed.phashes], np.uint64)
    is_near = clean.near_any(images["phash"].fill_null(0).to_numpy(), hashes, distance)
    same_bytes = pl.col("sha256").is_in(hits["sha256"].drop_nulls().implode()).fill_null(False)
    near = pl.Series(is_near) & pl.col("phash").is_not_null()
    return images.filter(pl.col("id").is_in(hits["id"].implode()) | same_bytes | near)


def _remember(build: Build, entries: Collection[str], hits: pl.DataFrame) -> None:
    """Add the entries and the hashes of what they name to the build's list."""
    hashes = {*hits["sha256"].drop_nulls(), *(f"{PHASH}{phash:016x}" for phash in hits["phash"].drop_nulls())}
    write(build.path / download.LIST, "".join(f"{entry}\n" for entry in sorted({*entries, *hashes})).encode())


def _erase(build: Build, shard: str, keys: Collection[str]) -> None:
    """Write zeros over all that a tar has under these keys, and mark them in the shard's table and counts."""
    folder = build.room("download") / shard
    try:
        with tarfile.open(folder / download.TAR) as tar, (folder / download.TAR).open("r+b") as file:
            for member in tar:
                if member.name.partition(".")[0] in keys:
                    file.seek(member.offset_data)
                    file.write(bytes(member.size))
            file.flush()
            os.fsync(file.fileno())
    except (OSError, tarfile.TarError) as error:
        raise ToolkitError(
            f"{folder / download.TAR} cannot be changed ({error}); nothing of it was taken down"
        ) from error
    table = pl.read_parquet(folder / download.TABLE)
    status = pl.when(pl.col("key").is_in(list(keys))).then(pl.lit(TAKEN_DOWN)).otherwise("status").alias("status")
    table = table.with_columns(status)
    write_table(folder / download.TABLE, table)
    states = dict.fromkeys(STATES, 0) | dict(table["status"].value_counts().iter_rows())
    build.finish("download", shard, {"urls": len(table), **states})


def made_from(name: str, data: Path) -> list[str]:
    """The datasets of a folder that are parts of this one, or of such a part."""
    parents = {path.parent.name: Manifest.read(path).parent for path in data.glob(f"*/{MANIFEST}")}
    found: list[str] = []
    for _ in parents:
        found = [each for each, parent in sorted(parents.items()) if parent and parent.name in (name, *found)]
    return found
