"""Measurements: the errors of architectures on datasets, wherever they come from."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl

from toolkit.stats.resampling import Floats

ERROR = "error"
ACCURACY = "accuracy"
SCHEMA = {
    "architecture": pl.String,
    "dataset": pl.String,
    "seed": pl.Int64,
    "status": pl.String,
    "value": pl.Float64,
    "wrong": pl.Int64,
    "images": pl.Int64,
}


@dataclass(frozen=True)
class Measurements:
    """Tidy values with what is known of the architectures.

    ``frame`` has the columns of `SCHEMA`, one row for each architecture, dataset and seed; ``value`` is in percent
    when ``unit`` says so, null unless ``status`` is "done". ``wrong`` of ``images`` are the counts behind a value.
    """

    name: str
    frame: pl.DataFrame
    attributes: pl.DataFrame
    """``architecture`` and numeric columns (depth, width, flops, ...), one row an architecture."""
    quantity: str = ERROR
    """"error" (less is better) or "accuracy" (more is better)."""
    unit: str = "%"
    metrics: dict[str, str] = field(default_factory=dict)
    """"top1" or "top5" by dataset, where it is known."""
    problems: tuple[str, ...] = ()
    """Files and rows that were left out, one line each."""
    errors: pl.DataFrame | None = None
    """``architecture``, ``dataset``, ``noise``: standard errors that stood beside the values, in their unit."""
    remarks: tuple[str, ...] = ()
    """What a reader must know of a dataset's values, one sentence each."""
    conditions: tuple[str, ...] = ()
    """Under what a study's nets were trained, a line for each recipe."""
    families: tuple[str, ...] = ()
    """The family of each of `architectures`; empty where each was drawn on its own."""
    families_by: str = ""
    """What tells the families, in words."""

    @cached_property
    def datasets(self) -> list[str]:
        """Datasets in the order they came."""
        return self.frame["dataset"].unique(maintain_order=True).to_list()

    @cached_property
    def architectures(self) -> list[str]:
        """Architectures in the order they came."""
        return self.frame["architecture"].unique(maintain_order=True).to_list()

    @cached_property
    def wide(self) -> pl.DataFrame:
        """One row an architecture, one column a dataset: the mean value over its finished seeds, or null."""
        means = self.done.group_by("architecture", "dataset").agg(pl.col("value").mean())
        full = pl.DataFrame({"architecture": self.architectures})
        pivoted = means.pivot("dataset", index="architecture", values="value")
        joined = full.join(pivoted, on="architecture", how="left", maintain_order="left")
        absent = [pl.lit(None, pl.Float64).alias(name) for name in self.datasets if name not in joined.columns]
        return joined.with_columns(absent).select("architecture", *self.datasets)

    @cached_property
    def done(self) -> pl.DataFrame:
        """The rows that have a finite value."""
        return self.frame.filter((pl.col("status") == "done") & pl.col("value").is_finite())

    @cached_property
    def matrix(self) -> Floats:
        """`wide` without names: (architectures, datasets), NaN where there is nothing."""
        return self.wide.drop("architecture").to_numpy().astype(np.float64)

    @property
    def sign(self) -> int:
        """1 when less is better, -1 when more is: ``sign * value`` always ranks the best first."""
        return 1 if self.quantity == ERROR else -1

    def column(self, dataset: str) -> Floats:
        """Values on one dataset in the order of `architectures`; NaN where there is none."""
        return self.matrix[:, self.datasets.index(dataset)]

    def scale(self, dataset: str) -> str:
        """What the numbers of a dataset are, in words: ``top-5 error, %``."""
        metric = {"top1": "top-1 ", "top5": "top-5 "}.get(self.metrics.get(dataset, ""), "")
        return f"{metric}{self.quantity}" + (f", {self.unit}" if self.unit else "")
