"""How many nets, and how many seeds of each, for an interval of a width or a verdict with a power?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from toolkit.analysis.families import draws
from toolkit.analysis.finding import TRANSFERS, verdict_of
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.ranking import standard_errors
from toolkit.analysis.roles import Roles
from toolkit.analysis.settings import Settings
from toolkit.analysis.table import Table, table
from toolkit.planning.goal import ONE_LOOK, THRESHOLDS
from toolkit.stats.correlation import MINIMUM
from toolkit.stats.reliability import reliability
from toolkit.stats.sequential import Estimate, interval_at, spearman_estimate

LIMIT = 100_000
"""Nets beyond which nobody asks: the answer is "no number of nets" then."""
FEWEST = 8
"""Nets below which no plan is made. Our choice."""
MOST_SEEDS = 5


@dataclass(frozen=True)
class Assumption:
    """What is taken to be true of a target, from a pilot study or by assumption."""

    target: str
    rho: float
    deviation: float
    """Standard error of Fisher's z times the root of the number of nets; 1 and a little for a normal pair."""
    pilot: Estimate | None = None
    reliability: float | None = None
    """Product of the shares of both datasets' spreads that are no noise; None: not known."""

    def with_seeds(self, times: int) -> "Assumption":
        """The same with so many times the seeds: noise that is averaged out attenuates rho no more (Spearman 1910)."""
        if self.reliability is None or times == 1:
            return self
        share = float(np.sqrt(self.reliability))
        lifted = times * share / (1 + (times - 1) * share)
        return Assumption(self.target, min(self.rho * lifted / share, 0.999), self.deviation, self.pilot, lifted**2)


def assumed(rho: float) -> Assumption:
    """A normal pair of that rho (standard error of Bonett & Wright 2000, Psychometrika 65:23)."""
    return Assumption(f"rho {rho:g}", rho, float(np.sqrt(1 + rho**2 / 2)))


class ClassDraws(NamedTuple):
    """Classes are a sample too: rho differs between draws of them by ``deviation``, and ``draws`` are averaged."""

    deviation: float = 0.0
    draws: int = 1

    @property
    def variance(self) -> float:
        """What it adds to the variance of rho."""
        return self.deviation**2 / self.draws


ONE_DRAW = ClassDraws()


def nets_for_width(given: Assumption, width: float, draws: ClassDraws = ONE_DRAW) -> int | None:
    """Fewest nets whose 95% interval is no wider than ``width`` (upper minus lower end); None: more than `LIMIT`."""
    return _fewest(lambda n: -np.subtract(*_ends(given, n, draws)) <= width)


def nets_for_verdict(given: Assumption, power: float, draws: ClassDraws = ONE_DRAW) -> int | None:
    """Fewest nets whose 95% interval gives a verdict with probability ``power``; None: more than `LIMIT`."""
    return _fewest(lambda n: _power(given, n, draws) >= power)


def _fewest(enough: Callable[[int], bool]) -> int | None:
    if not enough(LIMIT):
        return None
    low, high = FEWEST - 1, LIMIT
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _error(given: Assumption, n: int, draws: ClassDraws) -> float:
    """Standard error of z with ``n`` nets, class draws included."""
    return float(np.sqrt(given.deviation**2 / (n - 3) + draws.variance / (1 - given.rho**2) ** 2))


def _ends(given: Assumption, n: int, draws: ClassDraws) -> tuple[float, float]:
    z, half = np.arctanh(given.rho), ONE_LOOK * _error(given, n, draws)
    return float(np.tanh(z - half)), float(np.tanh(z + half))


def _power(given: Assumption, n: int, draws: ClassDraws) -> float:
    """The chance that the interval lies on one side of every threshold."""
    error, z = _error(given, n, draws), np.arctanh(given.rho)
    zones = [(np.arctanh(threshold) - z) / error for threshold in THRESHOLDS]
    return 1 - sum(float(special.ndtr(zone + ONE_LOOK) - special.ndtr(zone - ONE_LOOK)) for zone in zones)


def pilot_assumptions(data: Measurements, who: Roles, settings: Settings) -> list[Assumption]:
    """What a pilot says of every dataset but the reference."""
    names = [name for name in data.datasets if name != who.reference]
    return [found for name in names if (found := _pilot(data, who.reference, name, settings))]


def _pilot(data: Measurements, reference: str, target: str, settings: Settings) -> Assumption | None:
    x, y = data.column(reference), data.column(target)
    both = np.isfinite(x) & np.isfinite(y)
    estimate = spearman_estimate(x[both], y[both], draws(data, settings, both).families)
    if estimate.n <= MINIMUM or not np.isfinite(estimate.rho):
        return None
    noise = [standard_errors(data, name, settings)[0][both] for name in (reference, target)]
    shares = [reliability(v[both], e) for v, e in zip((x, y), noise, strict=True) if np.isfinite(e).all()]
    known = float(np.prod(shares)) if len(shares) == 2 and min(shares) > 0 else None
    return Assumption(target, estimate.rho, float(estimate.z_error * np.sqrt(estimate.n - 3)), estimate, known)


def nets_table(
    assumptions: Sequence[Assumption], width: float, power: float, draws: ClassDraws, hours: Mapping[str, float]
) -> Table:
    """A row for each target: where it stands, what a width and what a verdict would take, in nets and in hours."""
    note = (
        f"width: for a 95% interval from end to end of {width:g}; verdict: for one (rho above {TRANSFERS}, below 0, or "
        f"between) with a chance of {power:g}, if rho is what the pilot says. The reference needs the largest number. "
        "seeds: how many times those of the pilot, more only where they save trainings; hours: of the target"
    )
    rows = [_row(given, width, power, draws, hours.get(given.target)) for given in assumptions]
    return table("nets", "How many nets?", rows, note)


def _row(given: Assumption, width: float, power: float, draws: ClassDraws, hours: float | None) -> dict[str, Any]:
    for_width = nets_for_width(given, width, draws)
    seeds, for_verdict = _cheapest(given, power, draws)
    now = interval_at(given.pilot, ONE_LOOK) if given.pilot else None
    have = given.pilot.n if given.pilot else 0
    return {
        "target": given.target,
        "pilot": have or None,
        "rho": given.rho,
        "rho_low": now.low if now else None,
        "rho_high": now.high if now else None,
        "verdict": verdict_of(now) if now else None,
        "width_nets": for_width,
        "width_hours": for_width and hours and for_width * hours,
        "seeds": seeds,
        "verdict_nets": for_verdict,
        "verdict_hours": for_verdict and hours and for_verdict * seeds * hours,
        "in_words": _in_words(have, now is not None and verdict_of(now) != "open", seeds, for_verdict, hours),
    }


def _cheapest(given: Assumption, power: float, draws: ClassDraws) -> tuple[int, int | None]:
    """The number of seeds that needs the fewest trainings for a verdict, and its nets."""
    most = MOST_SEEDS if given.reliability is not None else 1
    found = [(times, nets_for_verdict(given.with_seeds(times), power, draws)) for times in range(1, most + 1)]
    return min(found, key=lambda row: row[0] * (row[1] or LIMIT * MOST_SEEDS))


def _in_words(have: int, settled: bool, seeds: int, needed: int | None, hours: float | None) -> str:
    """What would settle a target."""
    if settled:
        return "settled"
    if needed is None:
        return "no number of nets settles it: rho is too near to a threshold"
    more = max(needed - have, 0) if seeds == 1 else needed
    cost = f" ({more * seeds * hours:,.1f} hours)" if hours else ""
    each = "" if seeds == 1 else f" of {seeds} times the seeds"
    return f"{more:,} {'more ' if have and seeds == 1 else ''}nets{each}{cost} would settle it"


def width_curves(
    assumptions: Sequence[Assumption], draws: ClassDraws, hours: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Width of the interval for growing numbers of nets, with their hours (nets where no hours are known)."""
    sizes = np.unique(np.geomspace(FEWEST, 2000, 40).round().astype(int))
    return [
        {"target": given.target, "nets": int(n), "hours": n * hours.get(given.target, 1.0), "width": high - low}
        for given in assumptions
        for n in sizes
        for low, high in [_ends(given, int(n), draws)]
    ]
