"""Beside what was published: printed numbers recomputed, claims tested, and a study set beside another's."""

from collections.abc import Mapping
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from toolkit.analysis.conditional import attribute_matrix
from toolkit.analysis.families import draws
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.settings import Settings, how_correlations
from toolkit.analysis.table import Table, table
from toolkit.analysis.table_source import reference_measurements
from toolkit.references import reference, reference_names
from toolkit.stats.correlation import MINIMUM, bootstrap_spearman, correlations
from toolkit.stats.intervals import pair_interval
from toolkit.stats.resampling import Draws, Floats

Row = dict[str, Any]


def published_tables(data: Measurements, settings: Settings) -> list[Table]:
    """For a shipped study: its printed numbers beside recomputed ones, its claims tested. Else ``data`` beside it."""
    if data.name in reference_names():
        return [found for found in (_printed(data), _errata(data)) if len(found.frame)]
    return [found for name in reference_names() if (found := _beside(data, name, settings)) is not None]


def _printed(data: Measurements) -> Table:
    about = reference(data.name)
    rows = [row for block in about.get("correlations", []) for row in _recompute(data, block)]
    tolerance = about["tolerance"]
    for row in rows:
        row["agrees"] = abs(row["difference"]) <= tolerance
    note = f"recomputed from the shipped points; agrees: within {tolerance}. {' '.join(about['provenance'].split())}"
    return table("printed", f"{about['title']}: as printed and recomputed", rows, note)


def _recompute(data: Measurements, block: Mapping[str, Any]) -> list[Row]:
    rows = []
    for dataset, printed in block["values"].items():
        partner = block.get("attribute") or block.get("with") or block["chosen"][dataset]
        found = _correlation(data, dataset, partner, block["statistic"])
        row = {
            "table": block["table"],
            "short": block["short"],
            "dataset": dataset,
            "with": partner,
            "printed": printed,
        }
        rows.append(row | {"recomputed": found, "difference": found - printed})
    return rows


def _correlation(data: Measurements, dataset: str, partner: str, statistic: str) -> float:
    known = partner in data.datasets
    other = data.column(partner) if known else attribute_matrix(data, [partner])[:, 0]
    values = np.stack([data.column(dataset), other], axis=1)
    values = values[np.isfinite(values).all(axis=1)]
    return float(getattr(correlations(values, np.array([[0, 1]])), statistic)[0])


def _errata(data: Measurements) -> Table:
    """Statements of a paper that its own numbers or points contradict, each found by computing it again."""
    about = reference(data.name)
    columns = {block["table"]: block for block in about.get("correlations", [])}
    rows = [row for item in about.get("averages", []) for row in _wrong_average(item, columns)]
    for claim in about.get("claims", []):
        rows += _not_larger(claim, columns) if "larger" in claim else _not_best(data, claim, columns)
    rows += [row for claim in about.get("rankings", []) for row in _not_in_order(data, claim)]
    return table(
        "errata", "Where the printed text and its numbers differ", rows, "found by recomputing every statement"
    )


def _wrong_average(item: Mapping[str, Any], columns: Mapping[str, Any]) -> list[Row]:
    """The mean of a printed column against the mean printed below it."""
    values = columns[item["of"]]["values"]
    minus = columns[item["minus"]]["values"] if "minus" in item else dict.fromkeys(values, 0.0)
    mean = float(np.mean([values[name] - minus[name] for name in values]))
    if abs(mean - item["printed"]) < 0.001:
        return []
    return [_erratum(item["table"], "", f"printed {item['printed']:.3f}", f"the printed column averages {mean:.3f}")]


def _not_larger(claim: Mapping[str, Any], columns: Mapping[str, Any]) -> list[Row]:
    larger, smaller = columns[claim["larger"]]["values"], columns[claim["than"]]["values"]
    return [
        _erratum(claim["table"], name, claim["table"], f"{larger[name]:.3f} is less than {smaller[name]:.3f}")
        for name in larger
        if larger[name] < smaller[name]
    ]


def _not_best(data: Measurements, claim: Mapping[str, Any], columns: Mapping[str, Any]) -> list[Row]:
    rows = []
    block = columns[claim["best"]]
    for dataset, chosen in block["chosen"].items():
        found = {name: _correlation(data, dataset, name, block["statistic"]) for name in claim["among"]}
        best = max(found, key=lambda name: found[name])
        if best != chosen:
            said = f"{chosen}, printed {block['values'][dataset]:.3f}"
            rows.append(_erratum(claim["table"], dataset, said, f"{best} has {found[best]:.3f}"))
    return rows


def _not_in_order(data: Measurements, claim: Mapping[str, Any]) -> list[Row]:
    """Neighbours of a stated ranking whose published numbers are in the other order."""
    rows = []
    for dataset in claim["datasets"]:
        values = dict(zip(data.architectures, data.column(dataset), strict=True))
        for better, worse in pairwise(claim["order"]):
            if data.sign * values[better] > data.sign * values[worse]:
                names = [name.split("/")[-1] for name in (better, worse)]
                found = f"{values[better]:.3f} against {values[worse]:.3f}"
                rows.append(_erratum(claim["table"], dataset, " before ".join(names), found))
    return rows


def _erratum(where: str, dataset: str, printed: str, found: str) -> Row:
    return {"where": where, "dataset": dataset, "printed": printed, "found": found}


def _beside(data: Measurements, name: str, settings: Settings) -> Table | None:
    """Spearman of every pair of datasets that both have: the shipped study's and this one's."""
    other = reference_measurements(name)
    shared = [dataset for dataset in data.datasets if dataset in other.datasets]
    if len(shared) < 2:
        return None
    rows = [_side_by_side(data, other, a, b, settings) for a, b in combinations(shared, 2)]
    note = f"other architectures and recipes may lie between the two; 95% intervals: {how_correlations(data, settings)}"
    return table(f"beside-{name}", f"{data.name} beside {name}: Spearman", rows, note)


def _side_by_side(data: Measurements, other: Measurements, a: str, b: str, settings: Settings) -> Row:
    row: Row = {"a": a, "b": b}
    bounds = []
    for label, source in (("published", other), ("here", data)):
        values = np.stack([source.column(a), source.column(b)], axis=1)
        both = np.isfinite(values).all(axis=1)
        estimate, low, high, n = _spearman(values[both], draws(source, settings, both))
        row |= {label: estimate, f"{label}_low": low, f"{label}_high": high, f"n_{label}": n}
        bounds.append((low, high))
    (low, high), (low_here, high_here) = bounds
    known = np.isfinite([low, high, low_here, high_here]).all()
    return row | {"overlap": bool(low <= high_here and low_here <= high) if known else None}


def _spearman(values: Floats, drawn: Draws) -> tuple[float, float, float, int]:
    if len(values) < MINIMUM:
        return float("nan"), float("nan"), float("nan"), len(values)
    pair = np.array([[0, 1]])
    samples = bootstrap_spearman(values, pair, drawn)[0]
    rho = float(correlations(values, pair).spearman[0])
    return rho, *pair_interval("spearman", values[:, 0], values[:, 1], rho, samples, drawn), len(values)
