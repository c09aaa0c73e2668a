"""What was measured, before anything is said about it."""

import polars as pl

from toolkit.analysis.measurements import Measurements
from toolkit.analysis.table import Table, table


def coverage(data: Measurements) -> Table:
    """By dataset: what its numbers are, how many architectures have one, and what became of the others."""
    rows = [_coverage(data, name) for name in data.datasets]
    return table("coverage", "Coverage", rows, "architectures by dataset; runs count every seed")


def _coverage(data: Measurements, dataset: str) -> dict[str, object]:
    runs = data.frame.filter(pl.col("dataset") == dataset)
    values = data.column(dataset)
    finite = pl.Series(values).drop_nans()
    counts = {state: (runs["status"] == state).sum() for state in ("failed", "diverged")}
    done = data.done.filter(pl.col("dataset") == dataset)
    return {
        "dataset": dataset,
        "scale": data.scale(dataset),
        "paired": len(finite),
        "of": len(data.architectures),
        "runs": len(done),
        "missing": len(runs) - len(done) - sum(counts.values()) + _never_declared(data, dataset),
        **counts,
        "seeds": done["seed"].n_unique(),
        "min": finite.min(),
        "median": finite.median(),
        "max": finite.max(),
    }


def _never_declared(data: Measurements, dataset: str) -> int:
    here = data.frame.filter(pl.col("dataset") == dataset)["architecture"].n_unique()
    return len(data.architectures) - here
