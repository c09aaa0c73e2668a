"""Stage write: the dataset folder, with the funnel in its manifest, a data card and the list of URLs by sample id."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from data_prep.imagenot import card
from data_prep.imagenot.blocklist import Blocklist
from data_prep.imagenot.build import Build, Counts, total, write
from data_prep.imagenot.options import Write
from data_prep.imagenot.stages import classes
from data_prep.imagenot.stages.clean import KEPT
from data_prep.imagenot.stages.download import HASHES
from data_prep.imagenot.stages.select import shuffled
from toolkit.errors import ToolkitError
from toolkit.study.dataset import Manifest
from toolkit.visible import csv

if TYPE_CHECKING:
    from data_prep.storage.samples import Sample


def run(build: Build, data: Path, overwrite: bool = False) -> Counts:
    """Write the dataset into the folder of datasets ``data``. Raises `UsageError` when it is there already."""
    section = build.options.write
    kept = pl.read_parquet(build.need("clean", KEPT))
    missing = (pl.lit(None, pl.String).alias(name) for name in HASHES if name not in kept.columns)  # by version 0.1
    images = without_excluded(kept.with_columns(missing), section.exclude)
    images = split_by_class(images, section)
    path = data / section.name
    known = [each for each in classes.load(build) if each.wnid in set(images["class"])]
    manifest = _write(build, path, images, known, overwrite)
    return {"kept": len(images), **{split: manifest.splits[split].samples for split in ("train", "val")}}


def _write(build: Build, path: Path, images: pl.DataFrame, known: Sequence[classes.Class], overwrite: bool) -> Manifest:
    from data_prep.writing.dataset import DatasetInfo, write_dataset

    if not known:
        raise ToolkitError("no image is left to write: see the counts of select, download and clean")
    label = {each.wnid: number for number, each in enumerate(known)}
    section = build.options.write
    splits = {
        split: samples(build, images.filter(images["split"] == split).sort("draw"), label) for split in ("train", "val")
    }
    about = DatasetInfo(
        classes=list(label),
        class_names=[each.name for each in known],
        title="ImageNot, rebuilt from LAION's metadata",
        source="images on the web, found through LAION; licence by image in urls.csv",
        metric=section.metric,
        split_rule=f"{section.val:.0%} of each class held out, drawn with seed {section.seed}",
        provenance={
            "options": _options_to_publish(build),
            "funnel": funnel(build),
            "build": build.path.name,
        },
    )
    manifest = write_dataset(path, splits, about, overwrite=overwrite)
    write(path / "urls.csv", urls(images).write_csv().encode())
    write(path / "README.md", card.render(manifest, build, known).encode())
    return manifest


def urls(images: pl.DataFrame) -> pl.DataFrame:
    """Where each image comes from, for ``urls.csv``: what the metadata says of it is no formula of a spreadsheet."""
    columns = ["id", "sample_id", "url", "class", "split", "license", "score", "sha256", "md5"]
    of_strangers = pl.col("sample_id", "url", "license").map_elements(csv, pl.String)
    return images.sort("id").select(columns).with_columns(of_strangers)


def without_excluded(images: pl.DataFrame, exclude: str) -> pl.DataFrame:
    """The images but those whose id, LAION sample id, URL or hash stands in the file ``exclude``, one a line."""
    if not exclude:
        return images
    unwanted = Blocklist.read([exclude])
    columns = images.select("id", "sample_id", "url", *HASHES)
    return images.filter([not unwanted.names(*row) for row in columns.iter_rows()])


def split_by_class(images: pl.DataFrame, section: Write) -> pl.DataFrame:
    """Classes with at least two images, with ``split`` (train or val, at least one of each) and ``draw``, its order."""
    drawn = images.with_columns(draw=pl.Series(shuffled(images["id"], section.seed), dtype=pl.UInt64))
    size = pl.len().over("class")
    held_out = (size * section.val).round().clip(1, size - 1)
    turn = pl.col("draw").rank("ordinal").over("class")
    split = pl.when(turn <= held_out).then(pl.lit("val")).otherwise(pl.lit("train"))
    return drawn.filter(size > 1).with_columns(split=split)


def samples(build: Build, images: pl.DataFrame, label: Mapping[str, int]) -> "list[Sample]":
    """What the writer takes: each image as a stretch of its tar."""
    from data_prep.storage.samples import Sample, Span

    return [
        Sample(each, label[wnid], Span(str(build.room("download") / shard / "00000.tar"), start, size))
        for each, wnid, shard, start, size in images.select("id", "class", "shard", "start", "size").iter_rows()
    ]


def funnel(build: Build) -> dict[str, dict[str, Any]]:
    """Counts of every stage that has begun, from LAION's rows to what was kept."""
    return {stage: counts for stage in card.FUNNEL if (counts := stage_counts(build, stage))}


def stage_counts(build: Build, stage: str) -> Counts:
    """A stage's counts: its summary, or what its finished shards add up to."""
    if build.is_finished(stage, "summary"):
        return build.counts(stage, "summary")
    finished = sorted(path.stem for path in build.room(stage).glob("[0-9]*.json"))
    return total([build.counts(stage, shard) for shard in finished])


def _options_to_publish(build: Build) -> dict[str, Any]:
    """All options, sources without passwords and signatures, and not who asked: a manifest travels with the images."""
    options: dict[str, Any] = build.options.model_dump(mode="json", exclude={"download": {"contact", "block"}})
    options["match"]["sources"] = [card.without_secrets(source) for source in build.options.match.sources]
    return options
