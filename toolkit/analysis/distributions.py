"""How errors are spread over the population, dataset by dataset."""

import numpy as np

from toolkit.analysis.measurements import Measurements
from toolkit.analysis.table import Table, table
from toolkit.stats.distribution import distribution

POINTS = 51


def distributions(data: Measurements) -> Table:
    """Empirical distribution function of every dataset with pointwise exact 95% bands."""
    rows = []
    for name in data.datasets:
        values = data.column(name)[np.isfinite(data.column(name))]
        if len(values) == 0:
            continue
        found = distribution(values, POINTS)
        bands = np.stack([found.low, found.high]) + (np.nan if data.families else 0.0)
        for at, share, low, high in zip(found.at, found.share, *bands, strict=True):
            rows.append({"dataset": name, "at": at, "share": share, "share_low": low, "share_high": high})
    how = (
        "pointwise 95% bands (Clopper-Pearson)" if not data.families else "no bands: they suppose nets drawn one by one"
    )
    note = f"share of architectures with {data.quantity} of at most `at`; {how}"
    return table("distribution", f"Distribution of {data.quantity}", rows, note)
