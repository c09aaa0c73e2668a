"""Measurements with others' beside them: does my folder follow ImageNet's ranking?"""

import io
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from toolkit.analysis.measurements import SCHEMA, Measurements
from toolkit.analysis.table_source import Reading, table_measurements
from toolkit.errors import UsageError
from toolkit.names import unknown
from toolkit.references import RANKINGS, ranking_csv

log = logging.getLogger(__name__)
SHOWN = 5


def with_others(data: Measurements, others: Sequence[str], reading: Reading) -> Measurements:
    """``data`` with a dataset more for each that ``others`` name: shipped rankings, or tables in files.

    Architectures that ``data`` has not are left out, those that the other has not count as missing; both are counted in
    ``problems``. Raises `UsageError` when none is in both, or when one holds percent and the other does not.
    """
    for name in others:
        data = _joined(data, _other(name, reading), name)
    return data


def _other(name: str, reading: Reading) -> Measurements:
    if name not in RANKINGS:
        if not Path(name).is_file():
            raise unknown("table", name, list(RANKINGS), "for --with; or give the path of a file")
        return table_measurements([Path(name)], reading)
    log.info("%s: %s", name, RANKINGS[name])
    facts = pl.read_csv(io.BytesIO(ranking_csv(name))).select("architecture", value="accuracy", dataset=pl.lit(name))
    rows = facts.with_columns(status=pl.lit("done"), seed=0, wrong=None, images=None)
    frame = rows.select(pl.col(column).cast(kind) for column, kind in SCHEMA.items())
    return Measurements(name, frame, frame.select("architecture").clear(), "accuracy", "%", {name: "top1"})


def _joined(data: Measurements, other: Measurements, name: str) -> Measurements:
    frame = _as_ours(data, other, name)
    met = set(frame["architecture"])
    if not met:
        raise UsageError(
            f"--with {name}: none of its architectures ({', '.join(other.architectures[:SHOWN])}, ...) is one of "
            f"{data.name} ({', '.join(data.architectures[:SHOWN])}, ...)"
        )
    absent = [architecture for architecture in data.architectures if architecture not in met]
    missing = pl.DataFrame(
        [(a, d, 0, "missing", None, None, None) for d in frame["dataset"].unique(maintain_order=True) for a in absent],
        schema=SCHEMA,
        orient="row",
    )
    notes = [f"{name} has {len(met)} of {len(data.architectures)} architectures; not: {_listed(absent)}"] * bool(absent)
    return replace(
        data,
        frame=pl.concat([data.frame, frame, missing]),
        metrics=data.metrics | other.metrics,
        problems=(*data.problems, *other.problems, *notes),
    )


def _as_ours(data: Measurements, other: Measurements, name: str) -> pl.DataFrame:
    """The other's rows of our architectures, under our names of them, in our quantity, beside our datasets."""
    if data.unit != other.unit or (data.quantity != other.quantity and data.unit != "%"):
        mine, its = (f"{m.quantity}, {m.unit or 'without unit'}" for m in (data, other))
        raise UsageError(f"--with {name}: its values are {its}, those of {data.name} {mine}: they cannot be compared")
    own = _spellings(data.architectures, other.architectures)
    frame = other.frame.with_columns(architecture=pl.col("architecture").replace_strict(own, default=None))
    frame = frame.filter(pl.col("architecture").is_not_null()).select(list(SCHEMA))
    if data.quantity != other.quantity:
        frame = frame.with_columns(value=100 - pl.col("value"))
    told_apart = {dataset: f"{dataset} [{other.name}]" for dataset in data.datasets}
    return frame.with_columns(dataset=pl.col("dataset").replace(told_apart))


def _spellings(own: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Our name of each of the others' architectures that we have: the same, or the same but for a library before it.

    ``resnet18`` is ``torchvision/resnet18`` where no second of ours ends so; of two libraries neither is the other's.
    """
    last = [name.rpartition("/")[2] for name in own]
    unique = {short: name for short, name in zip(last, own, strict=True) if last.count(short) == 1}
    found = {name: unique[name] for name in others if name in unique}
    found |= {name: short for name in others if (short := name.rpartition("/")[2]) in own}
    return found | {name: name for name in own}


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
