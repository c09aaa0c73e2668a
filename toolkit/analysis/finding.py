"""The finding in words: what a reader should take home, before any table."""

from typing import Any

import polars as pl

from toolkit.analysis.families import families_in_words
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.roles import Roles
from toolkit.analysis.table import Table, bounds

TRANSFERS = 0.5
"""A rank correlation from which a ranking is said to transfer. Our choice: the words only, the numbers stand beside."""


def finding(data: Measurements, who: Roles, tables: dict[str, Table]) -> list[str]:
    """A few sentences, most important first."""
    lines = []
    if "pairs" in tables:
        lines += _transfer(who, tables["pairs"].frame)
    if "best-subset" in tables:
        lines.append(_subsets(who, tables["best-subset"].frame))
    if "agreement" in tables:
        lines += _flips(who, tables["agreement"].frame)
    if "errata" in tables:
        lines.append(f"{len(tables['errata'].frame)} statements of the paper differ from its own numbers (see errata).")
    drawn = families_in_words(data) if "pairs" in tables else ""
    return [*lines, *data.remarks, *([drawn] if drawn else []), _what_is_there(data, tables["coverage"].frame)]


def _what_is_there(data: Measurements, counts: pl.DataFrame) -> str:
    lost = [f"{counts[c].sum()} {c}" for c in ("missing", "failed", "diverged") if counts[c].sum()]
    unread = [f"{len(data.problems)} skipped or odd"] if data.problems else []
    datasets = f"{len(data.datasets)} dataset{'s' if len(data.datasets) > 1 else ''}"
    results = f"{counts['runs'].sum()} results of {len(data.architectures)} architectures on {datasets}"
    return f"{data.name}: {results}; {', '.join(lost + unread) or 'nothing missing'}."


def with_reference(who: Roles, pairs: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table of pairs that set the reference beside a target, with the target's name as ``target``."""
    rows = [row for row in pairs.iter_rows(named=True) if who.reference in (row["a"], row["b"])]
    rows = [row | {"target": row["b"] if row["a"] == who.reference else row["a"]} for row in rows]
    return [row for row in rows if row["target"] in who.targets]


def _transfer(who: Roles, pairs: pl.DataFrame) -> list[str]:
    """How the reference's ranking fares on the targets, by the intervals."""
    rows = with_reference(who, pairs)
    known = sorted((row for row in rows if row["spearman_low"] is not None), key=lambda row: -row["spearman"])
    if not known:
        reasons = sorted({row["note"] or "no interval" for row in rows})
        return [f"No correlation with {who.reference} can be given: {'; '.join(reasons)}."] if rows else []
    if len(known) == 1:
        return [f"{_verdict(known[0])} from {who.reference} to {_said(known[0])}, n = {known[0]['n']}."]
    groups = {
        f"transfers (Spearman over {TRANSFERS}) to": _where(known, TRANSFERS, 2),
        "is reversed on": _where(known, -2, 0),
        "lies in between, or is not to be told, on": [
            row for row in known if row["spearman_low"] <= TRANSFERS and row["spearman_high"] >= 0
        ],
    }
    told = [f"{words}: {', '.join(map(_said, found))}." for words, found in groups.items() if found]
    lines = [f"The ranking on {who.reference} {told[0]}", *(f"It {line}" for line in told[1:])]
    without = [f"{row['target']} ({row['note'] or 'no interval'})" for row in rows if row["spearman_low"] is None]
    return [*lines, f"No verdict on {', '.join(without)}."] if without else lines


def _where(rows: list[dict[str, Any]], low: float, high: float) -> list[dict[str, Any]]:
    """Rows whose whole interval lies between ``low`` and ``high``."""
    return [row for row in rows if row["spearman_low"] > low and row["spearman_high"] < high]


def _verdict(row: dict[str, Any]) -> str:
    if row["spearman_low"] > TRANSFERS:
        return "The ranking transfers"
    if row["spearman_high"] < 0:
        return "The ranking is reversed"
    return "Whether the ranking transfers is open"


def _said(row: dict[str, Any]) -> str:
    return f"{row['target']} {row['spearman']:.2f} {bounds(row['spearman_low'], row['spearman_high'], 2)}"


def _subsets(who: Roles, best: pl.DataFrame) -> str:
    gains = best.filter(pl.col("honest_gain_low") > 0)
    if gains.is_empty():
        return f"No subset of {who.reference} is shown to predict any of {len(best)} targets better than it does."
    said = [f"{row['target']} ({row['best_subset']}, +{row['honest_gain']:.2f})" for row in gains.iter_rows(named=True)]
    return f"A subset of {who.reference} predicts {len(said)} of {len(best)} targets better: {', '.join(said)}."


def _flips(who: Roles, found: pl.DataFrame) -> list[str]:
    if "same_ranking" not in found.columns:
        return []
    same = found.filter(pl.col("same_ranking"))["dataset"].to_list()
    lines = [f"The ranking on {who.reference} is exactly the same on {', '.join(same)}."] if same else []
    known = found.filter(pl.col("beyond_noise").is_not_null() & ~pl.col("same_ranking"))
    lines += [
        f"{row['dataset']}: {row['flips']} of {row['of_pairs']} pairs flip against {who.reference}, "
        f"{row['beyond_noise']} beyond noise ({row['by_chance']:.1f} expected were the rankings the same)."
        for row in known.head(3).iter_rows(named=True)
    ]
    return lines
