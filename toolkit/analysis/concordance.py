"""All datasets at once: do their rankings agree, and who is best over all of them?"""

from typing import Any

import numpy as np

from toolkit.analysis.measurements import Measurements
from toolkit.analysis.roles import Roles
from toolkit.analysis.table import Table, table
from toolkit.analysis.variance import complete
from toolkit.stats.concordance import concordance, mean_rank_bounds
from toolkit.stats.correlation import MINIMUM

DATASETS_FROM = 3
"""Datasets from which their concordance is told: of two, Spearman's rho says it."""


def concordance_tables(data: Measurements, roles: Roles) -> list[Table]:
    """Kendall's W with Friedman's test, and mean ranks with Nemenyi's critical difference."""
    names = [roles.reference, *roles.targets]
    if len(names) < DATASETS_FROM:
        return []
    values, mask = complete(data, names)
    row: dict[str, Any] = {"nets": len(values), "left_out": len(mask) - len(values), "datasets": len(names)}
    title = f"Do all {len(names)} datasets rank alike?"
    about = (
        "Kendall's W: 0 none, 1 the same order on all; mean rho: Spearman's, between two datasets; p: of orders by lot "
        "(Friedman's test, Iman & Davenport); left out: nets without a value on every dataset"
    )
    if len(values) < MINIMUM:
        return [table("concordance", title, [row | {"note": f"fewer than {MINIMUM} nets have all"}], about)]
    found = concordance(data.sign * values)
    k = len(names)
    row |= {"kendall_w": found.w, "mean_rho": (k * found.w - 1) / (k - 1), "p": found.p}
    row |= {"critical_difference": found.critical_difference}
    low, high = mean_rank_bounds(found)
    kept = np.flatnonzero(mask)
    rows = [
        {
            "architecture": data.architectures[kept[i]],
            "mean_rank": found.mean_ranks[i],
            "place": place,
            "place_low": int(low[i]),
            "place_high": int(high[i]),
            "level_with_best": bool(found.mean_ranks[i] - found.mean_ranks.min() <= found.critical_difference),
        }
        for place, i in enumerate(np.argsort(found.mean_ranks, kind="stable"), 1)
    ]
    note = (
        f"mean rank over {k} datasets; two nets differ where their mean ranks are more than "
        f"{found.critical_difference:.2f} apart (Nemenyi, all pairs together, 95%); intervals of places hold together; "
        "datasets are taken as drawn one by one"
    )
    best = f"Who is best over all {k} datasets? Mean ranks with their critical difference"
    return [table("concordance", title, [row], about), table("mean-ranks", best, rows, note)]
