"""What a user may choose about an analysis. Everything a number depends on beside the data."""

from dataclasses import dataclass
from typing import Literal

Scale = Literal["raw", "ratio", "logit", "probit"]


@dataclass(frozen=True)
class Settings:
    """Choices of a report, checked by the verb."""

    resamples: int = 2000
    """B of every bootstrap."""
    seed: int = 0
    reference: str | None = None
    """The dataset whose ranking is hoped to transfer; None: the first one."""
    targets: tuple[str, ...] = ()
    """Datasets it is hoped to transfer to; empty: all others that are no subsets of the reference."""
    noise: float | None = None
    """Standard error of a value in its unit, for data with neither seeds nor counts."""
