"""Which nets do better elsewhere than their reference accuracy promises? Effective robustness."""

from typing import Any

import numpy as np
from scipy import special

from toolkit.analysis.fits import accuracies
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.roles import Roles
from toolkit.analysis.table import Table, table
from toolkit.stats.correlation import ROUNDING
from toolkit.stats.fits import left_out
from toolkit.stats.intervals import BAND_FROM
from toolkit.stats.ranking import discoveries
from toolkit.stats.resampling import LEVEL
from toolkit.stats.scales import probit

MOST = 20_000
"""Rows up to which every net on every dataset is listed."""


def robustness(data: Measurements, roles: Roles) -> list[Table]:
    """Residuals of every net from the probit line of all others, by dataset; nothing where values are no shares."""
    if data.unit != "%":
        return []
    found = [_robustness(data, roles.reference, name) for name in data.datasets if name != roles.reference]
    rows = [row for of_dataset in found for row in of_dataset]
    lines = sum("residual" in row for row in rows)
    kept = [row for row in rows if lines <= MOST or row.get("outside", True)]
    note = (
        "accuracy in %; expected: by the straight line of all other nets, probit against probit of the accuracy on "
        f"{roles.reference} (Taori et al. 2020), with the 95% band for one net; residual: points above it (effective "
        f"robustness); outside: of the band, {(1 - LEVEL) * lines:.0f} of {lines:,} by chance alone; confirmed: of "
        f"which 5% by chance in a dataset (false-discovery rate); from {BAND_FROM} nets on"
    )
    note += f"; only those outside are listed, as there are over {MOST:,}" if len(kept) < len(rows) else ""
    note += "; the band takes nets as drawn one by one" if data.families else ""
    title = f"Who does better elsewhere than its accuracy on {roles.reference} promises? Effective robustness"
    return [table("robustness", title, kept, note)]


def _robustness(data: Measurements, reference: str, other: str) -> list[dict[str, Any]]:
    """A row for each net with both values, the largest residual first."""
    shares = np.stack([accuracies(data, name) / 100 for name in (reference, other)])
    both = np.flatnonzero(np.isfinite(shares).all(axis=0))
    x, y = (probit(share[both]) for share in shares)
    reason = _why_not(x, y)
    if reason:
        return [{"dataset": other, "n": len(x), "note": reason}]
    found = left_out(x, y)
    expected, low, high = (100 * special.ndtr(v) for v in (found.expected, found.low, found.high))
    accuracy = 100 * shares[1][both]
    outside = (accuracy < low) | (accuracy > high)
    sure = np.sort(found.p)[: discoveries(found.p, len(found.p))].max(initial=-1.0)
    order = np.argsort(expected - accuracy, kind="stable")
    return [
        {
            "dataset": other,
            "n": len(x),
            "architecture": data.architectures[both[i]],
            "accuracy": accuracy[i],
            "expected": expected[i],
            "expected_low": low[i],
            "expected_high": high[i],
            "residual": accuracy[i] - expected[i],
            "outside": bool(outside[i]),
            "confirmed": bool(found.p[i] <= sure),
            "note": "",
        }
        for i in order
    ]


def _why_not(x: np.ndarray, y: np.ndarray) -> str:
    """Why a dataset has no line with a band; empty when it has."""
    if len(x) < BAND_FROM:
        return f"fewer than {BAND_FROM} have both"
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return "one of the two is constant"
    on_line = 1 - np.corrcoef(x, y)[0, 1] ** 2 < ROUNDING
    return "all lie on the line: nothing tells how far off it could be" if on_line else ""
