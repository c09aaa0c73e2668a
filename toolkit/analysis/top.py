"""Do rankings agree among the best, where a choice is made?"""

from typing import Any

import numpy as np

from toolkit.analysis.measurements import Measurements
from toolkit.analysis.roles import Roles
from toolkit.analysis.table import Table, table
from toolkit.stats.correlation import MINIMUM
from toolkit.stats.top import PERSISTENCE, rank_biased_overlap, regret_of_best, weighted_tau

TRIED = (1, 2, 3, 5, 10, 20)


def top(data: Measurements, roles: Roles) -> Table:
    """Weighted tau, rank-biased overlap and the regret curve of every dataset against the reference."""
    rows = [_top(data, roles.reference, name) for name in data.datasets if name != roles.reference]
    note = (
        "weighted tau: Kendall's, flips among the best weigh most; rbo: overlap of the two lists of the best "
        f"(rank-biased, p = {PERSISTENCE}); lost k: what is lost there, in {data.unit or 'units'}, by trying only the "
        f"k best on {roles.reference} and taking the best of them; lost by lot: by one drawn by lot. All describe "
        "these nets as measured and have no interval; noise lowers the first two"
    )
    title = f"How many of the best on {roles.reference} must be tried elsewhere? Agreement among the best"
    return table("top", title, rows, note)


def _top(data: Measurements, reference: str, other: str) -> dict[str, Any]:
    x, y = data.sign * data.column(reference), data.sign * data.column(other)
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    row: dict[str, Any] = {"dataset": other, "n": len(x)}
    if len(x) < MINIMUM or np.ptp(x) == 0 or np.ptp(y) == 0:
        return row | {"note": "too few" if len(x) < MINIMUM else "one of the two is constant"}
    return row | {
        "weighted_tau": weighted_tau(x, y),
        "rbo": rank_biased_overlap(x, y),
        **{f"lost_{k}": regret_of_best(x, y, k) for k in TRIED if k <= len(x) // 2},
        "lost_by_lot": float(y.mean() - y.min()),
        "note": "",
    }
