"""The finding in words: what a reader should take home, before any table."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from scipy import special

from toolkit.analysis.families import families_in_words
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.roles import Roles
from toolkit.analysis.table import Table, with_interval
from toolkit.stats.correlation import ROUNDING
from toolkit.stats.resampling import LEVEL, Interval

TRANSFERS = 0.5
"""A rank correlation from which a ranking is said to transfer. Our choice: the words only, the numbers stand beside."""
Verdict = Literal["transfers", "between", "reversed", "open"]
"""transfers: rho is over `TRANSFERS`; reversed: below 0; between: over 0, below `TRANSFERS`; open: not to be told."""
MEANING: dict[Verdict, str] = {
    "transfers": f"Transfers (Spearman's interval over {TRANSFERS})",
    "between": f"Between (interval within 0 to {TRANSFERS})",
    "reversed": "Reversed (interval below 0)",
    "open": f"Open (interval reaches over 0 or {TRANSFERS})",
}
ONE: dict[Verdict, str] = {
    "transfers": "The ranking on {} transfers to {}.",
    "between": "The ranking on {} tells little of the one on {}.",
    "reversed": "The ranking on {} is reversed on {}.",
    "open": "Whether the ranking on {} transfers to {} is open.",
}
WORD: dict[Verdict, str] = {"transfers": "transferring", "between": "between", "reversed": "reversed"}
NAME, NAMED = 24, 8
"""Letters of a name in the first sentence, which has to fit a line of 100; targets named behind a verdict."""

FLIPS_NAMED = 3
"""Datasets whose flips are told in words; the table has all."""

Row = dict[str, Any]


def verdict_of(interval: Interval) -> Verdict:
    """What an interval of rho says."""
    if interval.low > TRANSFERS:
        return "transfers"
    if interval.high < 0:
        return "reversed"
    return "between" if interval.low > 0 and interval.high < TRANSFERS else "open"


def interval_of(row: Row) -> Interval:
    """Spearman's interval of a row of the table of pairs."""
    return Interval(row["spearman_low"], row["spearman_high"])


def finding(data: Measurements, who: Roles, tables: Mapping[str, Table]) -> list[str]:
    """A few sentences, most important first."""
    lines = []
    if "pairs" in tables:
        lines += _transfer(who, tables)
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


def with_reference(who: Roles, pairs: pl.DataFrame) -> list[Row]:
    """The rows of a table of pairs that set the reference beside a target, with the target's name as ``target``."""
    rows = [row for row in pairs.iter_rows(named=True) if who.reference in (row["a"], row["b"])]
    rows = [row | {"target": row["b"] if row["a"] == who.reference else row["a"]} for row in rows]
    return [row for row in rows if row["target"] in who.targets]


def _transfer(who: Roles, tables: Mapping[str, Table]) -> list[str]:
    """How the reference's ranking fares on the targets: a line of counts, then a line for each verdict."""
    rows = with_reference(who, tables["pairs"].frame)
    known = sorted((row for row in rows if row["spearman_low"] is not None), key=lambda row: -row["spearman"])
    if not known:
        return _without_interval(who, rows)
    ceilings = _ceilings(who, tables)
    groups = {verdict: [row for row in known if verdict_of(interval_of(row)) == verdict] for verdict in MEANING}
    lines = [_first(who, groups, len(rows))]
    lines += [f"{MEANING[name]}: {_listed(found, ceilings)}." for name, found in groups.items() if found]
    lines += [] if ceilings else ["Noise is not known, nor what it hides."]
    lines += _together(groups, len(known))
    without = [f"{row['target']} ({row['note'] or 'no interval'})" for row in rows if row["spearman_low"] is None]
    return [*lines, f"No verdict on {', '.join(without)}."] if without else lines


def _without_interval(who: Roles, rows: Sequence[Row]) -> list[str]:
    """What is to be said where no target's correlation has an interval."""
    reasons = "; ".join(sorted({row["note"] or "no interval" for row in rows}))
    told = [f"{row['target']} {row['spearman']:.2f}" for row in rows if row["spearman"] is not None]
    if told:
        more = [f"and {len(told) - NAMED} more (table pairs)"] * (len(told) > NAMED)
        spearman = ", ".join(told[:NAMED] + more)
        return [f"Whether the ranking on {who.reference} transfers is open ({reasons}): Spearman {spearman}."]
    return [f"No correlation with {who.reference} can be given: {reasons}."] if rows else []


def _first(who: Roles, groups: Mapping[Verdict, list[Row]], targets: int) -> str:
    """The first sentence, no longer than `LINE`: the verdict on one target, or how many targets have which."""
    reference = shortened(who.reference, NAME)
    if targets == 1:
        (verdict,) = (name for name, found in groups.items() if found)
        return ONE[verdict].format(reference, shortened(groups[verdict][0]["target"], NAME))
    first, *others = ((name, len(found)) for name, found in groups.items() if found or name == "transfers")
    rest = "".join(f", {name} on {count}" for name, count in others)
    return f"The ranking on {reference} transfers to {first[1]} of {targets} targets{rest}."


def shortened(name: str, most: int) -> str:
    """``name``, or its two ends where it has more than ``most`` letters."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[: most - 1 - half]}\N{HORIZONTAL ELLIPSIS}{name[-half:]}"


def _listed(rows: Sequence[Row], ceilings: Mapping[str, float]) -> str:
    """Targets with their correlations, and the ceiling where noise is known; the first `NAMED`, a count of the rest."""
    said = []
    for row in rows[:NAMED]:
        rho = with_interval(row["spearman"], row["spearman_low"], row["spearman_high"], 2)
        ceiling = f" (noise allows {ceilings[row['target']]:.2f})" if row["target"] in ceilings else ""
        said.append(f"{row['target']} {rho}{ceiling}")
    said += [f"and {len(rows) - NAMED} more (table pairs)"] * (len(rows) > NAMED)
    nets = sorted({row["n"] for row in rows})
    counted = f"n = {nets[0]}" + (f" to {nets[-1]}" if len(nets) > 1 else "")
    return f"{', '.join(said)}; {counted}"


def _ceilings(who: Roles, tables: Mapping[str, Table]) -> dict[str, float]:
    """The most that noise lets Spearman's rho with the reference show, by target, where noise is known."""
    if "noise" not in tables or "ceiling" not in tables["noise"].frame.columns:
        return {}
    rows = with_reference(who, tables["noise"].frame)
    return {row["target"]: row["ceiling"] for row in rows if row["ceiling"] is not None}


def _together(groups: Mapping[Verdict, list[Row]], targets: int) -> list[str]:
    """What remains of the verdicts where all targets' intervals are to hold together."""
    told = [(name, found) for name, found in groups.items() if found and name != "open"]
    if targets == 1 or not told:
        return []
    stay = [
        f"{sum(verdict_of(_widened(row, targets)) == name for row in found)} of {len(found)} {WORD[name]}"
        for name, found in told
    ]
    return [f"Each interval holds with 95% by itself; all {targets} together (Bonferroni) leave {', '.join(stay)}."]


def _widened(row: Row, targets: int) -> Interval:
    """The interval of a row stretched to hold with 1 - 5% / ``targets``, as a normal one on the scale of Fisher's z."""
    tail = (1 - LEVEL) / 2
    stretch = special.ndtri(tail / targets) / special.ndtri(tail)
    ends = np.arctanh(np.clip([row["spearman"], *interval_of(row)], ROUNDING - 1, 1 - ROUNDING))
    low, high = np.tanh(ends[0] + stretch * (ends[1:] - ends[0]))
    return Interval(float(low), float(high))


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
        f"{row['beyond_noise']} beyond noise ({row['by_chance']:.1f} expected were the rankings the same, p = "
        f"{row['same_p']:.2g}), {row['confirmed']} confirmed."
        for row in known.head(FLIPS_NAMED).iter_rows(named=True)
    ]
    return lines
