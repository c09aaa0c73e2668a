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

    @cached_property
    def known_errors(self) -> dict[str, tuple[Floats, str]]:
        """By dataset: the standard error of each of `architectures`' values, in its unit, and where it is known from.

        From repeated seeds (pooled over architectures) where there are any, else from the images counted (binomial),
        else from what stood beside the values; NaN where none of them is known.
        """
        runs = self.done.partition_by("dataset", as_dict=True)
        return {name: self._known_errors(name, runs.get((name,), self.done.clear())) for name in self.datasets}

    def _known_errors(self, dataset: str, runs: pl.DataFrame) -> tuple[Floats, str]:
        names = pl.DataFrame({"architecture": self.architectures})
        sums = (pl.col("value").var().alias("variance"), pl.col("wrong").sum(), pl.col("images").sum())
        per = names.join(
            runs.group_by("architecture").agg(pl.len().alias("seeds"), *sums),
            on="architecture",
            how="left",
            maintain_order="left",
        )
        seeds = per["seeds"].cast(pl.Float64).to_numpy()
        repeated = per.filter(pl.col("seeds") > 1)
        if len(repeated):
            freedom = (repeated["seeds"] - 1).cast(pl.Float64).to_numpy()
            pooled = float(repeated["variance"].to_numpy() @ freedom / freedom.sum())
            return np.sqrt(pooled / seeds), "seeds"
        if runs["images"].is_not_null().any():
            wrong, images = (per[name].cast(pl.Float64).to_numpy() for name in ("wrong", "images"))
            return _binomial(wrong, images), "counts"
        if self.errors is not None:
            told = self.errors.filter(pl.col("dataset") == dataset).group_by("architecture").agg(pl.col("noise").mean())
            beside = per.join(told, on="architecture", how="left", maintain_order="left")["noise"]
            if beside.is_not_null().any():
                return beside.cast(pl.Float64).to_numpy(), "told"
        return np.full(len(per), np.nan), ""

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


def _binomial(wrong: Floats, images: Floats) -> Floats:
    """Standard errors, in percent, of shares ``wrong`` of ``images`` (n,); NaN where nothing was counted."""
    images = np.where(images > 0, images, np.nan)
    at_an_end = (wrong == 0) | (wrong == images)  # a share of 0 has an error too: half a count is taken as seen
    share = np.where(at_an_end, (wrong + 0.5) / (images + 1), wrong / images)
    return np.asarray(100 * np.sqrt(share * (1 - share) / images))
