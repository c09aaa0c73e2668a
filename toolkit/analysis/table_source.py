"""Measurements of anybody's table: tidy or wide, CSV or Parquet; and of the shipped references."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import polars as pl
from polars.exceptions import PolarsError

from toolkit.analysis.measurements import SCHEMA, Measurements
from toolkit.errors import UsageError
from toolkit.references import reference, reference_csv

ALIASES = {
    "architecture": ("architecture", "arch", "model", "net", "network"),
    "dataset": ("dataset", "data", "task", "benchmark"),
    "seed": ("seed", "run", "repeat"),
    "error": ("error", "err", "top1_error", "top5_error", "test_error", "val_error"),
    "accuracy": ("accuracy", "acc", "top1", "top5", "test_accuracy", "val_accuracy"),
}
ATTRIBUTES = ("flops", "params", "activations", "depth", "width", "resolution", "cumulative_depth", "cumulative_width")
"""Numeric columns that describe an architecture; in a wide table every other numeric column is a dataset."""
ATTRIBUTE_PREFIX = "attr_"
"""Marks any further column of a wide table as an architecture's."""
SCALES = ((1.0, 100.0, "%"), (100.0, 1.0, "%"), (float("inf"), 1.0, ""))
"""Largest value, factor, unit: shares become percent, percent stays, anything larger has no unit."""


def table_measurements(paths: Sequence[Path], quantity: str = "error") -> Measurements:
    """Measurements of the tables in ``paths``, read as one. Raises `UsageError` naming the file and what it lacks."""
    frame = pl.concat([_read(path) for path in paths], how="diagonal_relaxed")
    return _measurements(" + ".join(path.stem for path in paths), frame, quantity, {}, None, str(paths[0]))


def reference_measurements(name: str) -> Measurements:
    """Measurements of the shipped study ``name``."""
    about = reference(name)
    frame = pl.read_csv(reference_csv(name))
    return _measurements(name, frame, about["quantity"], about.get("metrics", {}), about.get("unit"), name)


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        separator = "\t" if path.suffix == ".tsv" else ","
        return pl.read_csv(path, separator=separator, infer_schema_length=None, null_values=["", "NA", "nan", "NaN"])
    except FileNotFoundError as error:
        raise UsageError(f"{path} is not there: give the path of a table or the name of a study") from error
    except (PolarsError, OSError) as error:
        raise UsageError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error


def _measurements(
    name: str, frame: pl.DataFrame, quantity: str, metrics: dict[str, str], unit: str | None, place: str
) -> Measurements:
    frame = frame.rename({c: c.strip() for c in frame.columns})
    architecture = _find(frame, "architecture")
    if architecture is None:
        raise UsageError(f"{place} has no column of architectures (one of: {', '.join(ALIASES['architecture'])})")
    frame = frame.rename({architecture: "architecture"}).with_columns(pl.col("architecture").cast(pl.String))
    dataset = _find(frame, "dataset")
    if dataset is None:
        tidy, attributes = _melt(frame, place)
    else:
        tidy, attributes, quantity = _tidy(frame.rename({dataset: "dataset"}), place)
    problems = tuple(_odd_rows(tidy, place))
    tidy = tidy.filter(pl.col("architecture").is_not_null() & pl.col("dataset").is_not_null())
    if tidy.is_empty():
        raise UsageError(f"{place} has no rows with an architecture and a dataset")
    tidy, found = _in_percent(tidy) if unit is None else (tidy, unit)
    kind = cast(Literal["error", "accuracy"], quantity)
    return Measurements(name, tidy.select(list(SCHEMA)), attributes, kind, found, metrics, problems)


def _find(frame: pl.DataFrame, kind: str) -> str | None:
    return next((column for column in frame.columns if column.lower() in ALIASES[kind]), None)


def _melt(frame: pl.DataFrame, place: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A wide table, one column a dataset, as tidy rows; and the architectures' columns."""
    seed = _find(frame, "seed")
    numeric = [c for c, kind in frame.schema.items() if kind.is_numeric() and c != seed]
    described = [c for c in numeric if c.lower() in ATTRIBUTES or c.startswith(ATTRIBUTE_PREFIX)]
    datasets = [c for c in numeric if c not in described]
    if not datasets:
        raise UsageError(f"{place} has neither a column 'dataset' nor a numeric column for each dataset")
    index = ["architecture", *([seed] if seed else [])]
    tidy = frame.unpivot(datasets, index=index, variable_name="dataset", value_name="value")
    tidy = tidy.rename({seed: "seed"}) if seed else tidy
    return _complete(tidy), _described(frame, described)


def _tidy(frame: pl.DataFrame, place: str) -> tuple[pl.DataFrame, pl.DataFrame, str]:
    quantity = next((kind for kind in ("error", "accuracy") if _find(frame, kind)), None)
    if quantity is None:
        raise UsageError(f"{place} has no column 'error' or 'accuracy'")
    renamed = {_find(frame, quantity): "value", _find(frame, "seed"): "seed"}
    frame = frame.rename({old: new for old, new in renamed.items() if old})
    known = {"architecture", "dataset", "seed", "value", "wrong", "images", "status"}
    described = [c for c, kind in frame.schema.items() if kind.is_numeric() and c not in known]
    return _complete(frame), _described(frame, described), quantity


def _complete(frame: pl.DataFrame) -> pl.DataFrame:
    """All columns of `SCHEMA`; a value that is there is a done run, one that is not is missing."""
    defaults: dict[str, Any] = {"seed": 0, "wrong": None, "images": None}
    absent = [pl.lit(value, SCHEMA[name]).alias(name) for name, value in defaults.items() if name not in frame.columns]
    frame = frame.with_columns(pl.col("value").cast(pl.Float64, strict=False), *absent)
    if "status" not in frame.columns:
        has = pl.col("value").is_finite().fill_null(False)
        frame = frame.with_columns(status=pl.when(has).then(pl.lit("done")).otherwise(pl.lit("missing")))
    return frame.with_columns(pl.col(name).cast(kind, strict=False) for name, kind in SCHEMA.items())


def _described(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """One row an architecture: the mean of each numeric column that describes it."""
    means = [pl.col(c).cast(pl.Float64).mean().alias(c.removeprefix(ATTRIBUTE_PREFIX)) for c in columns]
    return frame.group_by("architecture", maintain_order=True).agg(means)


def _odd_rows(tidy: pl.DataFrame, place: str) -> list[str]:
    """What is counted as missing, in words."""
    infinite = tidy["value"].is_infinite().sum()
    unnamed = (tidy["architecture"].is_null() | tidy["dataset"].is_null()).sum()
    repeated = len(tidy) - tidy.n_unique(["architecture", "dataset", "seed"])
    said = {
        f"{infinite} infinite values count as missing": infinite,
        f"{unnamed} rows without architecture or dataset are left out": unnamed,
        f"{repeated} rows repeat an architecture, dataset and seed; they count as repeated runs": repeated,
    }
    return [f"{place}: {words}" for words, count in said.items() if count]


def _in_percent(tidy: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    finite = tidy["value"].filter(tidy["value"].is_finite())
    largest = cast(float, finite.max()) if len(finite) else 0.0
    _, factor, unit = next(scale for scale in SCALES if largest <= scale[0])
    return tidy.with_columns(value=factor * pl.col("value")), unit
