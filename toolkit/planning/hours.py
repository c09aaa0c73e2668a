"""Hours of one net on each dataset: as a study measured them, or as a published one's sizes tell."""

from pathlib import Path

import polars as pl

from toolkit.launching.cost import Size, chosen_rate, estimate
from toolkit.references import reference, reference_names
from toolkit.study import Study, Task, load_recipe
from toolkit.study.scan import scan

SAMPLE = 10
"""Nets of the population that stand for all: they were drawn to cost the same, within a tenth."""


def net_hours(source: str, home: Path | None) -> tuple[dict[str, float], str]:
    """Hours a net by dataset, and on what; empty where nothing tells them."""
    if home is not None:
        timed = scan(Study.open(home)).frame.filter(pl.col("status") == "done")
        means = timed.group_by("dataset").agg(pl.col("total_s").mean() / 3600)
        return dict(means.iter_rows()), "as its results were timed"
    if source not in reference_names():
        return {}, ""
    sizes = {name: Size(*row) for name, row in reference(source).get("sizes", {}).items()}
    rate = chosen_rate()
    return {name: _estimated(source, name, size) for name, size in sizes.items()}, f"{rate.device}, {rate.basis}"


def _estimated(source: str, dataset: str, size: Size) -> float:
    recipe = load_recipe(source, dataset)
    tasks = [
        Task(architecture=f"anynetx-500/{i}", dataset=dataset, dataset_hash="", recipe=recipe) for i in range(SAMPLE)
    ]
    return estimate(tasks, lambda _: size).hours / SAMPLE
