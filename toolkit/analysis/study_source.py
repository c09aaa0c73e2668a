"""Measurements of a study folder."""

from collections.abc import Iterable, Iterator, Mapping

import polars as pl

from toolkit.analysis.measurements import SCHEMA, Measurements
from toolkit.anynet import architecture
from toolkit.errors import UsageError
from toolkit.study.conditions import conditions
from toolkit.study.scan import columns, recipe_id, scan
from toolkit.study.study import Study
from toolkit.study.task import Task


def study_measurements(study: Study) -> Measurements:
    """All declared tasks of ``study``: those with a result as it says, the others as "missing". Errors in percent.

    A dataset that was trained by several recipes, or that changed its content, becomes one column for each: their
    errors are different quantities. Raises `UsageError` when the study declares nothing, or was
    launched with ``--halving``.
    """
    if study.halved:
        raise UsageError(
            f"study {study.path} looked for the best net by --halving: the nets that are left are no sample of the "
            f"design space, so their correlations would be biased; python -m toolkit.plan looks {study.path} ranks them"
        )
    found = scan(study)
    tasks = study.tasks()
    if not tasks and found.frame.is_empty():
        raise UsageError(f"study {study.path} has no tasks: launch some (python -m toolkit.launch --study NAME)")
    missing = pl.DataFrame(
        [_declared(i, task) for i, task in tasks.items() if i not in set(found.frame["id"])],
        schema={name: kind for name, kind in columns().items() if name in _DECLARED},
        orient="row",
    )
    frame = pl.concat([found.frame, missing], how="diagonal")
    order = pl.DataFrame(
        {"id": list(tasks), "position": range(len(tasks))}, schema={"id": pl.String, "position": pl.Int64}
    )
    frame = frame.join(order, on="id", how="left").sort("position", "id", nulls_last=True)
    frame = _told_apart(frame)
    return Measurements(
        name=study.name,
        frame=frame.with_columns(value=100 * pl.col("error")).select(list(SCHEMA)),
        attributes=_attributes(frame, study.texts()),
        metrics=dict(frame.filter(pl.col("metric").is_not_null()).select("dataset", "metric").iter_rows()),
        problems=tuple(found.problems),
        remarks=tuple(_published_starts(tasks.values())),
        conditions=tuple(conditions(tasks.values())),
    )


def _published_starts(tasks: Iterable[Task]) -> Iterator[str]:
    """A line for each column whose nets start from published weights: what they were trained on is another matter."""
    columns: dict[str, dict[str, None]] = {}
    for task in tasks:
        if task.start and task.start.weights:
            columns.setdefault(task.column, {})[task.start.weights] = None
    for column, weights in columns.items():
        shown = ", ".join(list(weights)[:3]) + (f" and {len(weights) - 3} more" if len(weights) > 3 else "")
        yield f"{column}: these nets start from published weights, not from scratch ({shown})."


_DECLARED = ("id", "architecture", "dataset", "dataset_hash", "recipe", "recipe_id", "seed", "status")


def _declared(task_id: str, task: Task) -> tuple[object, ...]:
    recipe = recipe_id(task.recipe.model_dump_json().encode())
    return task_id, task.architecture, task.column, task.dataset_hash, task.recipe_name, recipe, task.seed, "missing"


def _told_apart(frame: pl.DataFrame) -> pl.DataFrame:
    """Dataset names with ``[recipe]`` or ``@content`` added where one name stands for several quantities."""
    several = [pl.col(c).n_unique().over("dataset") > 1 for c in ("recipe_id", "dataset_hash")]
    return frame.with_columns(
        dataset=pl.col("dataset")
        + pl.when(several[1]).then("@" + pl.col("dataset_hash").str.slice(0, 6)).otherwise(pl.lit(""))
        + pl.when(several[0]).then("[" + pl.col("recipe") + ":" + pl.col("recipe_id") + "]").otherwise(pl.lit(""))
    )


def _attributes(frame: pl.DataFrame, texts: Mapping[str, str]) -> pl.DataFrame:
    """FLOPs and parameters at the largest resolution met, and the columns of the configuration where it has one."""
    costs = frame.group_by("architecture", maintain_order=True).agg(pl.col("flops", "params").max().cast(pl.Float64))
    known = costs.select("architecture", *(c for c in ("flops", "params") if costs[c].is_not_null().any()))
    described = [{"architecture": name} | _description(name, texts) for name in known["architecture"]]
    return known.join(pl.DataFrame(described, infer_schema_length=None), on="architecture", maintain_order="left")


def _description(name: str, texts: Mapping[str, str]) -> dict[str, float]:
    """Depth, width and the rest of an architecture's configuration; nothing for one this version does not know."""
    try:
        return architecture(name, texts).attributes()
    except UsageError:
        return {}
