"""Which subset of the reference predicts a target better than the reference itself, and is that more than luck?"""

from typing import Any

import numpy as np
import polars as pl

from toolkit.analysis.families import draws
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.roles import Roles
from toolkit.analysis.settings import Settings
from toolkit.analysis.table import Table, table
from toolkit.stats.correlation import MINIMUM, bootstrap_spearman, correlations, holm
from toolkit.stats.dependent import honest_best, steiger_p
from toolkit.stats.intervals import FAMILIES_FROM, GAIN_FROM, interval_from

Row = dict[str, Any]


def subset_tables(data: Measurements, roles: Roles, settings: Settings) -> list[Table]:
    """The gain of every subset on every target; the best subset of each target; draws summarised. Maybe none."""
    candidates = [subset.name for subset in roles.subsets] + roles.controls
    if not candidates:
        return []
    compared = [_compare(data, roles, candidates, target, settings) for target in roles.targets]
    gains = [row for rows, _ in compared for row in rows]
    best = [row for _, row in compared if row]
    for row, p in zip(gains, holm(np.array([row["steiger_p"] for row in gains], float)), strict=True):
        row["steiger_p_holm"] = p
    over = "families of architectures" if data.families else "architectures"
    how = f"paired bootstrap over {over} (B = {settings.resamples}, seed {settings.seed})"
    tables = [
        table(
            "gains",
            f"Spearman with each target: subsets of {roles.reference} against {roles.reference}",
            gains,
            f"gain = subset minus {roles.reference}, {how}; Steiger's test (nets one by one), Holm over {len(gains)}",
        )
    ]
    if best:
        note = f"the subset is picked anew in every resample, and the optimism of picking is taken off; {how}"
        tables.append(table("best-subset", "The best subset of each target, chosen honestly", best, note))
    return tables + _draws(gains, roles)


def _compare(
    data: Measurements, roles: Roles, candidates: list[str], target: str, settings: Settings
) -> tuple[list[Row], Row | None]:
    """Rows of gains on one target, over the architectures that have all; and the best subset's row."""
    names = [target, roles.reference, *candidates]
    values = data.matrix[:, [data.datasets.index(name) for name in names]]
    complete = np.isfinite(values).all(axis=1)
    values, drawn = values[complete], draws(data, settings, complete)
    m = len(candidates)
    to_target = [(0, j) for j in range(1, m + 2)]
    to_reference = [(1, j) for j in range(2, m + 2)]
    pairs = np.array(to_target + to_reference)
    rho = correlations(values, pairs).spearman
    samples = bootstrap_spearman(values, pairs[: m + 1], drawn)
    gains = samples[1:] - samples[0]
    rows = []
    for i, name in enumerate(candidates):
        low, high = interval_from(GAIN_FROM, rho[i + 1] - rho[0], gains[i], len(values), drawn)
        rows.append(
            {
                "target": target,
                "subset": name,
                "n": len(values),
                "rho_reference": rho[0],
                "rho_subset": rho[i + 1],
                "gain": rho[i + 1] - rho[0],
                "gain_low": low,
                "gain_high": high,
                "steiger_p": np.nan if data.families else steiger_p(rho[0], rho[i + 1], rho[m + 1 + i], len(values)),
                "kind": "size control" if name in roles.controls else "subset",
                "note": _why_not(len(values), drawn.family_count),
            }
        )
    k = len(roles.subsets)
    units = drawn.family_count or len(values)
    return rows, _best(rows[:k], gains[:k], target) if k and units >= GAIN_FROM else None


def _why_not(n: int, families: int | None) -> str:
    """Why a gain or its interval is not given; empty when both may be."""
    if families is not None and families < FAMILIES_FROM:
        return f"no interval: fewer than {FAMILIES_FROM} families of architectures have all"
    if n < MINIMUM:
        return f"fewer than {MINIMUM} architectures have all"
    return "" if n >= GAIN_FROM else f"no interval: fewer than {GAIN_FROM} architectures have all"


def _best(rows: list[Row], samples: np.ndarray, target: str) -> Row | None:
    estimates = np.array([row["gain"] for row in rows], float)
    if not np.isfinite(estimates).all():
        return None
    choice = honest_best(estimates, samples)
    return {
        "target": target,
        "best_subset": rows[choice.best]["subset"],
        "naive_gain": estimates[choice.best],
        "honest_gain": choice.estimate,
        "honest_gain_low": choice.interval.low,
        "honest_gain_high": choice.interval.high,
        "picked": float(choice.shares[choice.best]),
        "n": rows[0]["n"],
    }


def _draws(gains: list[Row], roles: Roles) -> list[Table]:
    """Several draws of one class count as a distribution; nothing when every count was drawn once."""
    counts = {subset.name: subset.classes for subset in roles.subsets}
    if len(set(counts.values())) == len(counts):
        return []
    frame = pl.DataFrame([row | {"classes": counts[row["subset"]]} for row in gains if row["subset"] in counts])
    summary = frame.group_by("target", "classes", maintain_order=True).agg(
        pl.len().alias("draws"),
        pl.col("gain").mean().alias("mean_gain"),
        pl.col("gain").std().alias("sd"),
        pl.col("gain").min().alias("min"),
        pl.col("gain").median().alias("median"),
        pl.col("gain").max().alias("max"),
        (pl.col("gain") > 0).mean().alias("share_positive"),
    )
    note = "one row a class count: the spread over independent draws of classes, which no interval over nets shows"
    return [table("draws", "Gain by class count over draws of classes", summary.to_dicts(), note)]
