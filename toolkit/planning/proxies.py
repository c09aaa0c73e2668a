"""Proxy economics: which cheaper dataset predicts a target's ranking best for its cost?"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from toolkit.analysis.measurements import Measurements
from toolkit.analysis.roles import Roles
from toolkit.analysis.table import Table, table
from toolkit.errors import UsageError
from toolkit.planning.goal import ONE_LOOK
from toolkit.stats.ranking import regret
from toolkit.stats.resampling import Floats
from toolkit.stats.sequential import interval_at, spearman_estimate


def proxies_table(data: Measurements, who: Roles, hours: Mapping[str, float], basis: str) -> Table:
    """For every target, the reference and its subsets: correlation with the target, hours of all nets, the frontier.

    On the frontier is what no cheaper proxy beats. Raises `UsageError` when no hours or no targets are known.
    """
    proxies = [name for name in (who.reference, *(s.name for s in who.subsets), *who.controls) if name in hours]
    if not proxies or not who.targets:
        raise UsageError(
            f"{data.name}: {len(proxies)} proxies with known hours and {len(who.targets)} targets: give a study, or a "
            "shipped one with its datasets' sizes"
        )
    rows = [row for target in who.targets for row in _of_target(data, target, proxies, hours)]
    note = (
        f"hours: of all nets on the proxy ({basis}); frontier: no cheaper proxy correlates as well; 95% intervals; "
        "place: of the proxy's best net on the target (1 is the best); lost: what taking it costs there"
    )
    return table("proxies", "Which proxy for a target, at what cost?", rows, note)


def _of_target(data: Measurements, target: str, proxies: list[str], hours: Mapping[str, float]) -> list[dict[str, Any]]:
    rows = sorted((_row(data, target, proxy, hours[proxy]) for proxy in proxies), key=lambda row: row["hours"])
    best = -np.inf
    for row in rows:
        row["frontier"] = bool(row["rho"] > best)
        best = max(best, row["rho"])
    return rows


def _row(data: Measurements, target: str, proxy: str, hours: float) -> dict[str, Any]:
    x, y = data.column(proxy), data.column(target)
    both = np.isfinite(x) & np.isfinite(y)
    estimate = spearman_estimate(x[both], y[both])
    low, high = interval_at(estimate, ONE_LOOK)
    spent = hours * len(data.architectures)
    row = {"target": target, "proxy": proxy, "hours": spent, "n": estimate.n}
    row |= {"rho": estimate.rho, "rho_low": low, "rho_high": high, "rho_per_1000_hours": 1000 * estimate.rho / spent}
    return row | _choice(data.sign * x[both], data.sign * y[both])


def _choice(x: Floats, y: Floats) -> dict[str, Any]:
    """Where the best by the proxy's values ``x`` (n,) stands by the target's ``y``, in the mean over ties."""
    if len(x) == 0:
        return {"place": None, "lost": None}
    best = y[x == x.min()]
    return {"place": float(np.mean([1 + (y < value).sum() for value in best])), "lost": regret(x, y)}
