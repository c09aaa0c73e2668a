"""Is the ranking the same? Flips beyond noise, overlap of the best, what choosing on the reference costs."""

from typing import Any

import numpy as np

from toolkit.analysis.measurements import Measurements
from toolkit.analysis.ranking import image_counts, standard_errors
from toolkit.analysis.roles import Roles
from toolkit.analysis.settings import Settings
from toolkit.analysis.table import Table, table
from toolkit.stats.correlation import MINIMUM
from toolkit.stats.ranking import Noise, flips, regret, regret_at_most, same_ranking, top_overlap

TOPS = (1, 5, 15)
FLIPS_UP_TO = 5000
"""Architectures beyond which pairs are not counted one by one."""


def agreement(data: Measurements, roles: Roles, settings: Settings) -> Table:
    """The reference's ranking against every other dataset's."""
    others = [name for name in data.datasets if name != roles.reference]
    rows = [_agreement(data, roles.reference, other, settings) for other in others]
    note = (
        f"flips: pairs of architectures in opposite order; beyond noise: both differences over 1.96 standard errors; "
        f"by chance: how many such flips to expect, were the true rankings the same; confirmed: flips of which 5% are "
        f"none (false-discovery rate); p same: chance of so many flips by noise, were the rankings the same; top k: "
        f"share of the {roles.reference} best k among the best k there; regret: cost in {data.unit or 'units'} of "
        f"taking the best by {roles.reference}; at most: without the noise on the other dataset, with 95% or more"
    )
    return table("agreement", f"The ranking on {roles.reference} elsewhere", rows, note)


def _agreement(data: Measurements, reference: str, other: str, settings: Settings) -> dict[str, Any]:
    x, y = data.sign * data.column(reference), data.sign * data.column(other)
    both = np.isfinite(x) & np.isfinite(y)
    (x_errors, _), (y_errors, _) = (standard_errors(data, name, settings) for name in (reference, other))
    x_counts, y_counts = (image_counts(data, name, settings) for name in (reference, other))
    x, y, x_errors, y_errors = x[both], y[both], x_errors[both], y_errors[both]
    row: dict[str, Any] = {"dataset": other, "n": len(x)}
    if len(x) < MINIMUM or len(x) > FLIPS_UP_TO:
        return row | {"note": "too few to compare" if len(x) < MINIMUM else f"over {FLIPS_UP_TO} architectures"}
    counted = flips(x, y, Noise(x_errors, *x_counts[:, both]), Noise(y_errors, *y_counts[:, both]))
    known = counted.beyond_noise >= 0
    same = same_ranking(x, y, x_errors, y_errors, settings.seed) if known else None
    return row | {
        "same_ranking": counted.inverted == 0,
        "flips": counted.inverted,
        "of_pairs": counted.pairs,
        "beyond_noise": counted.beyond_noise if known else None,
        "by_chance": same.beyond_noise if same else None,
        "confirmed": counted.confirmed if known else None,
        "same_p": same.p if same else None,
        **{f"top_{k}": top_overlap(x, y, k) for k in TOPS if k <= len(x) // 2},
        "regret": regret(x, y),
        "regret_at_most": regret_at_most(x, y, y_errors),
        "note": "" if known else "noise not known: no counts, no seeds, no --noise",
    }
