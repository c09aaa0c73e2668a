"""What a user may choose about an analysis. Everything a number depends on beside the data."""

from dataclasses import dataclass
from typing import Literal

from toolkit.analysis.measurements import Measurements
from toolkit.stats.intervals import BOOTSTRAP_FROM, FAMILIES_FROM, INTERVAL_FROM

Scale = Literal["raw", "ratio", "logit", "probit"]


@dataclass(frozen=True)
class Settings:
    """Choices of a report."""

    resamples: int = 2000
    """B of every bootstrap."""
    seed: int = 0
    reference: str | None = None
    """The dataset whose ranking is hoped to transfer; None: "imagenet" when it is there, else the first."""
    targets: tuple[str, ...] = ()
    """Datasets it is hoped to transfer to; empty: all others that are no subsets of the reference."""
    noise: float | None = None
    """Standard error of a value in its unit, for data with neither seeds nor counts."""
    given: tuple[str, ...] = ()
    """Columns of the architectures held fixed in partial correlations; empty: log FLOPs, else log parameters."""
    baseline: str | None = None
    """The architecture that relative improvement and the ratio scale refer to; None: the worst on the reference."""
    scale: Scale = "raw"
    """On which accuracies are fitted."""


def how_correlations(data: Measurements, settings: Settings) -> str:
    """How the intervals of correlations came about, for the note below a table."""
    if data.families:
        return (
            f"bootstrap over {len(set(data.families))} families of architectures (B = {settings.resamples}, seed "
            f"{settings.seed}), their standard error on Fisher's z, Student's t; none under {FAMILIES_FROM} families"
        )
    drawn = f"bootstrap over architectures (B = {settings.resamples}, seed {settings.seed})"
    spread = "Kendall by its standard deviation, Pearson by it on Fisher's z"
    few = f"under {BOOTSTRAP_FROM['spearman']} of them (Pearson {BOOTSTRAP_FROM['pearson']}) and where all ranks agree"
    none = f"none of ranks under {INTERVAL_FROM['spearman']} (Kendall {INTERVAL_FROM['kendall']})"
    return f"{drawn}, {spread}; by Fisher's z {few}; {none}"
