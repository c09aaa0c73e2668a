"""Who is best on each dataset, and how sure that is."""

from typing import Any

import numpy as np
import polars as pl
from scipy import special

from toolkit.analysis.measurements import Measurements
from toolkit.analysis.settings import Settings
from toolkit.analysis.table import Table, table
from toolkit.stats.intervals import clopper_pearson
from toolkit.stats.ranking import Z, rank_intervals
from toolkit.stats.resampling import LEVEL, Floats


def standard_errors(data: Measurements, dataset: str, settings: Settings) -> tuple[Floats, str]:
    """Standard error of each architecture's value on ``dataset``, in its unit, and where it is known from.

    As `Measurements.known_errors` has it, else ``settings.noise``; NaN where neither is known.
    """
    errors, source = data.known_errors[dataset]
    if source or settings.noise is None:
        return errors, source
    return np.full(len(errors), settings.noise), "given"


def image_counts(data: Measurements, dataset: str, settings: Settings) -> Floats:
    """Wrong and all images of each architecture on ``dataset`` (2, n); NaN where its noise is known otherwise."""
    names = pl.DataFrame({"architecture": data.architectures})
    if standard_errors(data, dataset, settings)[1] != "counts":
        return np.full((2, len(names)), np.nan)
    sums = data.done.filter(pl.col("dataset") == dataset).group_by("architecture").agg(pl.col("wrong", "images").sum())
    found = names.join(sums, on="architecture", how="left", maintain_order="left")
    return found.select(pl.col("wrong", "images").cast(pl.Float64)).to_numpy().T.astype(float)


def ranking(data: Measurements, settings: Settings) -> Table:
    """All architectures of every dataset, best first, with intervals of value and rank where noise is known."""
    rows = [row for dataset in data.datasets for row in _ranking(data, dataset, settings)]
    note = (
        "value intervals: Clopper-Pearson from counts, else by standard errors (Student's t where seeds tell them); "
        "intervals of ranks: all of a dataset hold together"
    )
    return table("ranking", "Ranking by dataset", rows, note)


def _ranking(data: Measurements, dataset: str, settings: Settings) -> list[dict[str, Any]]:
    values = data.column(dataset)
    errors, source = standard_errors(data, dataset, settings)
    present = np.flatnonzero(np.isfinite(values))
    best_first = present[np.argsort(data.sign * values[present], kind="stable")]
    value, error = values[best_first], errors[best_first]
    low, high = _value_interval(data, dataset, best_first, value, error, source)
    known = np.isfinite(error)
    first, last = rank_intervals(data.sign * value, np.where(known, error, 0))
    return [
        {
            "dataset": dataset,
            "rank": i + 1,
            "rank_low": int(first[i]) if known[i] else None,
            "rank_high": int(last[i]) if known[i] else None,
            "architecture": data.architectures[row],
            "value": value[i],
            "value_low": low[i],
            "value_high": high[i],
            "noise": source or "unknown",
        }
        for i, row in enumerate(best_first)
    ]


def _value_interval(
    data: Measurements, dataset: str, rows: np.ndarray, value: Floats, error: Floats, source: str
) -> tuple[Floats, Floats]:
    if source != "counts":
        half = np.where(error > 0, _quantile(data, dataset, source) * error, np.nan)
        return value - half, value + half
    runs = data.done.filter(pl.col("dataset") == dataset)
    names = pl.DataFrame({"architecture": [data.architectures[row] for row in rows]})
    counts = names.join(runs, on="architecture", how="left", maintain_order="left")
    low, high = clopper_pearson(counts["wrong"].to_numpy().astype(float), counts["images"].to_numpy().astype(float))
    return (100 * low, 100 * high) if data.quantity == "error" else (100 - 100 * high, 100 - 100 * low)


def _quantile(data: Measurements, dataset: str, source: str) -> float:
    """Standard errors to either side of a value: Student's t where the error was estimated from repeated seeds."""
    if source != "seeds":
        return Z
    seeds = data.done.filter(pl.col("dataset") == dataset).group_by("architecture").len()["len"]
    return float(special.stdtrit(int((seeds - 1).sum()), (1 + LEVEL) / 2))
