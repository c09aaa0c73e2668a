"""Does the agreement survive when size is held fixed, and among the good ones alone?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from toolkit.analysis.families import draws
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.roles import Roles
from toolkit.analysis.settings import Settings, how_correlations
from toolkit.analysis.table import Table, table
from toolkit.names import unknown
from toolkit.stats.correlation import MINIMUM, bootstrap_spearman, correlations, t_p
from toolkit.stats.intervals import INTERVAL_FROM, PARTIAL_FROM, family_p, pair_interval, partial_interval
from toolkit.stats.partial import partial_spearman
from toolkit.stats.resampling import Floats, Interval, Ints

USUALLY_GIVEN = ("flops", "params")
THIRDS = ("best", "middle", "worst")


def given_columns(data: Measurements, settings: Settings) -> list[str]:
    """The architectures' columns to hold fixed; none without the usual. Raises `UsageError` for unknown ones."""
    known = [c for c in data.attributes.columns if c != "architecture"]
    for name in settings.given:
        if name not in known:
            raise unknown("column of the architectures", name, known)
    return list(settings.given) or [c for c in USUALLY_GIVEN if c in known][:1]


def partial(data: Measurements, roles: Roles, settings: Settings) -> list[Table]:
    """Spearman of the reference with every dataset, given `given_columns`; nothing when there is none to give."""
    given = given_columns(data, settings)
    if not given:
        return []
    held = attribute_matrix(data, given)
    others = [name for name in data.datasets if name != roles.reference]
    rows = [_partial(data, roles.reference, other, held, settings) for other in others]
    words = " and ".join(given)
    how = how_correlations(data, settings)
    note = f"rank correlation given {words} (the ranks of log {words} are the same); 95% intervals: {how}"
    return [table("partial", f"Spearman with {roles.reference} given {words}", rows, note)]


def attribute_matrix(data: Measurements, columns: list[str]) -> Floats:
    """Columns of the architectures in the order of ``data.architectures``: (n, len(columns)), NaN where unknown."""
    names = pl.DataFrame({"architecture": data.architectures})
    joined = names.join(data.attributes, on="architecture", how="left", maintain_order="left")
    return joined.select(columns).to_numpy().astype(np.float64)


def _partial(data: Measurements, reference: str, other: str, held: Floats, settings: Settings) -> dict[str, Any]:
    values = np.column_stack([data.column(reference), data.column(other), held])
    known = np.isfinite(values).all(axis=1)
    values, drawn = values[known], draws(data, settings, known)
    plain = correlations(values, np.array([[0, 1]])).spearman[0]
    row = {"dataset": other, "n": len(values), "spearman": plain}
    if len(values) < MINIMUM + held.shape[1]:
        return row | {"note": "too few architectures"}
    estimate, samples = partial_spearman(values, drawn)
    low, high = partial_interval(estimate, samples, len(values), held.shape[1], drawn)
    by_rows = t_p(estimate, len(values) - 2 - held.shape[1])
    p = by_rows if drawn.family_count is None else family_p(estimate, samples, drawn.family_count)
    least = PARTIAL_FROM + held.shape[1]
    few = "" if drawn.family_count or len(values) >= least else f"no interval: fewer than {least} architectures"
    note = few if np.isfinite(estimate) else "a column is constant or follows from the others"
    return row | {"partial": estimate, "partial_low": low, "partial_high": high, "partial_p": p, "note": note}


def tertiles(data: Measurements, roles: Roles, settings: Settings) -> Table:
    """Spearman of the reference with every dataset within each third of the reference's ranking."""
    x = data.sign * data.column(roles.reference)
    found: dict[str, dict[str, Any]] = {}
    alike: dict[tuple[str, bytes], list[str]] = {}
    for other in (name for name in data.datasets if name != roles.reference):
        both = np.flatnonzero(np.isfinite(x) & np.isfinite(data.column(other)))
        found[other] = {"dataset": other, "n": len(both)}
        best_first = both[np.argsort(x[both], kind="stable")]
        for third, rows in zip(THIRDS, np.array_split(best_first, len(THIRDS)), strict=True):
            alike.setdefault((third, rows.tobytes()), []).append(other)
    for (third, rows_seen), others in alike.items():  # datasets with the same nets in a third are resampled once
        rows = np.frombuffer(rows_seen, np.intp)
        for other, rho, (low, high) in _within(data, rows, [roles.reference, *others], settings):
            found[other] |= {third: rho, f"{third}_low": low, f"{third}_high": high}
    order = ("dataset", "n", *(f"{third}{end}" for third in THIRDS for end in ("", "_low", "_high")))
    note = (
        f"thirds of the ranking on {roles.reference}; a correlation over all may come from the worst nets alone; "
        f"a third of fewer than {INTERVAL_FROM['spearman']} nets has no interval"
    )
    ordered = [{column: row[column] for column in order} for row in found.values()]
    return table("tertiles", f"Spearman with {roles.reference} within thirds", ordered, note)


def _within(
    data: Measurements, rows: Ints, names: list[str], settings: Settings
) -> Iterator[tuple[str, float, Interval]]:
    """Spearman of the first of ``names`` with each other among the nets ``rows``, and its interval."""
    values = np.stack([data.column(name)[rows] for name in names], axis=1)
    pairs = np.array([(0, other) for other in range(1, len(names))])
    drawn = draws(data, settings).among(rows)
    found = zip(names[1:], correlations(values, pairs).spearman, bootstrap_spearman(values, pairs, drawn), strict=True)
    for (name, rho, samples), y in zip(found, values[:, 1:].T, strict=True):
        yield name, rho, pair_interval("spearman", values[:, 0], y, rho, samples, drawn)
