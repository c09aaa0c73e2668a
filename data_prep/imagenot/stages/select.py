"""Stage select: from scored candidates to an ordered list of images for each class, chosen ones first, then spares."""

import math
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import polars as pl

from data_prep.imagenot import options
from data_prep.imagenot.build import Build, Counts, write, write_table
from data_prep.imagenot.stages import classes, score
from toolkit.errors import ToolkitError, UsageError


def run(build: Build) -> Counts:
    """Select, and write ``selected.parquet`` (with ``rank`` in the class, from 0) and ``classes.csv``."""
    section = build.options.select
    scored = load_scores(build, section.threshold)
    chosen = select(scored, section)
    table = table_of_classes(build, scored, chosen, section)
    if chosen.is_empty():
        raise ToolkitError(
            f"no candidate of {table['candidates'].sum():,} reaches the threshold {section.threshold}: choose another "
            "with --sweep"
        )
    if section.short == "drop":
        full = table.filter(~table["short"])["class"]
        chosen = chosen.filter(chosen["class"].is_in(full.implode()))
    build.reset_stage("select")
    save(build, chosen, table)
    return {
        "candidates": int(table["candidates"].sum()),
        "above": len(scored),
        "unique": int(table["unique"].sum()),
        "selected": len(chosen),
        "classes": chosen["class"].n_unique(),
        "short_classes": int(table["short"].sum()),
    }


def load_scores(build: Build, least: float) -> pl.DataFrame:
    """What choosing needs of all candidates whose score `reaches` so much; no others are held in memory."""
    columns = ("id", pl.col("url").hash(seed=0).alias("url_hash"), "caption_hash", "class", "score")
    return scan_scores(build).filter(reaches(build, least)).select(*columns).collect(engine="streaming")


def reaches(build: Build, threshold: float) -> pl.Expr:
    """Whether a score is enough: above the threshold by LAIONet's rule, at it or above by ours."""
    score = pl.col("score")
    return score > threshold if build.options.match.rule == "laionet" else score >= threshold


def scan_scores(build: Build) -> pl.LazyFrame:
    """All scored candidates. Raises `UsageError` while shards are missing."""
    names = score.shards(build)
    if missing := [name for name in names if not build.is_finished("score", name)]:
        raise UsageError(
            f"{len(missing)} of {len(names)} shards are not scored yet, such as {missing[0]}: run score first"
        )
    paths = [build.room("score") / f"{name}.parquet" for name in names]
    return pl.scan_parquet(paths, missing_columns="insert", extra_columns="ignore")  # version 0.1 wrote no hashes


def select(scored: pl.DataFrame, section: options.Select) -> pl.DataFrame:
    """The images of each class in the order in which they are wanted: ``id``, ``class``, ``score``, ``rank``.

    All of ``scored`` have a score that is enough. Among rows with one URL, or one caption, the best by score is kept
    (the first id among equals). The draw's order is `shuffled`.
    """
    best_first = (
        scored.sort("score", "id", descending=[True, False])
        .unique("url_hash", keep="first", maintain_order=True)
        .unique("caption_hash", keep="first", maintain_order=True)
    )
    drawn = pl.Series("draw", shuffled(best_first["id"], section.seed), pl.UInt64)
    ordered = best_first if section.rule == "top" else best_first.with_columns(drawn).sort("draw")
    wanted = wanted_per_class(section)
    return (
        ordered.with_columns(rank=pl.int_range(pl.len()).over("class"), unique=pl.len().over("class"))
        .filter(pl.col("rank") < wanted)
        .sort("class", "rank")
        .select("id", "class", "score", "rank", "unique")
    )


def shuffled(ids: Iterable[str], seed: int) -> list[int]:
    """A number for each id to sort by: a draw that never changes and does not depend on which ids there are beside."""
    return [int.from_bytes(blake2b(f"{seed}/{each}".encode(), digest_size=8).digest()) for each in ids]


def wanted_per_class(section: options.Select) -> int:
    """Images to be named for each class: the set's and the spare ones."""
    return section.per_class + math.ceil(section.per_class * section.spare)


def table_of_classes(build: Build, scored: pl.DataFrame, chosen: pl.DataFrame, section: options.Select) -> pl.DataFrame:
    """One row a class: candidates, those above the threshold, unique ones, chosen and spare ones, scores."""
    known = classes.load(build)
    names = pl.DataFrame({"class": [c.wnid for c in known], "name": [c.name for c in known]})
    of_all = scan_scores(build).group_by("class").agg(candidates=pl.len(), median_score=pl.col("score").median())
    above = scored.group_by("class").agg(above=pl.len())
    of_chosen = chosen.group_by("class").agg(
        unique=pl.col("unique").first(),
        kept=(pl.col("rank") < section.per_class).sum(),
        spare=(pl.col("rank") >= section.per_class).sum(),
        lowest_score=pl.col("score").min(),
    )
    counts = pl.col("candidates", "above", "unique", "kept", "spare").fill_null(0)
    table = names
    for part in (of_all.collect(engine="streaming"), above, of_chosen):
        table = table.join(part, on="class", how="left")
    columns = ("class", "name", "candidates", "above", "unique", "kept", "spare", "median_score", "lowest_score")
    table = table.select(columns).with_columns(counts)
    return table.with_columns(short=pl.col("kept") < section.per_class).sort("class")


def save(build: Build, chosen: pl.DataFrame, table: pl.DataFrame) -> None:
    """Write the selection, with all that is known of each image, and the table."""

    room = build.room("select")
    known = scan_scores(build).drop("class", "score", "caption_hash")
    rows = known.join(chosen.lazy(), on="id").collect(engine="streaming")
    write(room / "classes.csv", table.write_csv(float_precision=4).encode())
    write_table(room / "selected.parquet", rows.drop("unique").sort("class", "rank"))


def sweep(build: Build, thresholds: Sequence[float]) -> list[dict[str, float]]:
    """What each threshold would give; nothing is scored or written."""
    section = build.options.select
    scored = load_scores(build, min(thresholds))
    results = []
    for threshold in thresholds:
        chosen = select(scored.filter(reaches(build, threshold)), section)
        by_class = chosen.unique("class")["unique"]
        results.append(
            {
                "threshold": threshold,
                "images": int((chosen["rank"] < section.per_class).sum()),
                "classes": len(by_class),
                "full_classes": int((by_class >= section.per_class).sum()),
                "with_spares": int((by_class >= wanted_per_class(section)).sum()),
            }
        )
    return results


def choose_classes(build: Build, count: int, seed: int) -> list[str]:
    """Draw ``count`` classes among those with enough images and spares: from a pool to a list of classes.

    Raises `UsageError` when there are fewer.
    """
    table = pl.read_csv(build.need("select", "classes.csv"))
    enough = table.filter(pl.col("kept") + pl.col("spare") >= wanted_per_class(build.options.select))["class"].to_list()
    if len(enough) < count:
        raise UsageError(f"only {len(enough)} of {len(table)} classes have enough images, {count} are asked for")
    return classes.draw(enough, count, seed)
