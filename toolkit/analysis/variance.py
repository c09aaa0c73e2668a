"""Where do the values' differences come from: the datasets, the nets, the two together, or noise?"""

from typing import Any

import numpy as np

from toolkit.analysis.families import draws
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.ranking import standard_errors
from toolkit.analysis.roles import Roles
from toolkit.analysis.settings import Settings
from toolkit.analysis.table import Table, table
from toolkit.stats.correlation import MINIMUM
from toolkit.stats.intervals import SPLIT_FROM, share_interval
from toolkit.stats.resampling import Floats
from toolkit.stats.variance import Split, bootstrap_split, split

WORDS = {
    "datasets": "some datasets are harder",
    "nets": "a net is better everywhere",
    "particular": "a net is better on one alone",
    "noise": "another seed or other images",
}


def complete(data: Measurements, names: list[str]) -> tuple[Floats, np.ndarray]:
    """The values of the nets that have all of the datasets ``names``, (n, k), and the mask of these nets."""
    values = np.stack([data.column(name) for name in names], axis=1)
    mask = np.asarray(np.isfinite(values).all(axis=1))
    return values[mask], mask


def variance(data: Measurements, roles: Roles, settings: Settings) -> list[Table]:
    """Components of variance over reference and targets; nothing where values share no unit."""
    names = [roles.reference, *roles.targets]
    if data.unit != "%":
        return []
    values, mask = complete(data, names)
    left_out = len(mask) - len(values)
    title = f"Where do differences come from? Variance of {data.quantity} over {len(names)} datasets"
    few = f" ({left_out} have not)" if left_out else ""
    note = (
        f"of the {len(values)} architectures with all datasets{few}; analysis of variance with given datasets; share: "
        "of the whole variance; the larger nets is beside particular, the more rankings transfer; bootstrap intervals "
        f"over nets from {SPLIT_FROM} on (B = {settings.resamples})"
    )
    if len(values) < MINIMUM:
        reason = f"fewer than {MINIMUM} architectures have all {len(names)} datasets"
        return [table("variance", title, [{"source": "none", "note": reason}], note)]
    return [table("variance", title, _rows(data, names, values, mask, settings), note)]


def _rows(
    data: Measurements, names: list[str], values: Floats, mask: np.ndarray, settings: Settings
) -> list[dict[str, Any]]:
    errors = np.stack([standard_errors(data, name, settings)[0][mask] for name in names], axis=1)
    known = bool(np.isfinite(errors).all())
    noise = errors**2 if known else np.zeros(values.shape)
    drawn = draws(data, settings, mask)
    shares, samples = _shares(split(values, noise)), _shares(bootstrap_split(values, noise, drawn))
    found = split(values, noise)
    rows = []
    for source in Split._fields[: None if known else -1]:
        share = float(getattr(shares, source)[0])
        low, high = share_interval(share, getattr(samples, source), len(values), drawn)
        row: dict[str, Any] = {"source": source, "means": WORDS[source]}
        row |= {"deviation": float(np.sqrt(getattr(found, source)[0])), "share": share}
        row |= {"share_low": low, "share_high": high}
        unknown = source == "particular" and not known
        rows.append(row | {"note": "noise included" if unknown else ""})
    return rows


def _shares(found: Split) -> Split:
    total = np.sum(found, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Split(*(np.asarray(part / total) for part in found))
