"""Cheaper nets: from which epoch on do a study's errors rank as the last epoch's do, and may weak nets stop there?"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from toolkit.analysis.table import Table, table
from toolkit.errors import UsageError
from toolkit.planning.goal import ONE_LOOK
from toolkit.planning.halving import BIASED, KEEP, rungs
from toolkit.stats.correlation import MINIMUM
from toolkit.stats.resampling import Floats
from toolkit.stats.sequential import interval_at, spearman_estimate
from toolkit.study import Study

RESAMPLES = 2000


class Curves(NamedTuple):
    """Errors of a dataset's nets by epoch."""

    dataset: str
    epochs: list[int]
    errors: Floats
    """(nets, epochs); shares."""
    seconds: Floats
    """(epochs,) until the end of each, in the mean over nets."""


def curves(study: Study) -> list[Curves]:
    """The epoch curves of every dataset's finished nets. Raises `UsageError` when no dataset has enough of them."""
    found = list(_curves(study))
    if not found:
        raise UsageError(f"study {study.path}: no dataset has {MINIMUM + 1} finished nets with two evaluations or more")
    return found


def _curves(study: Study) -> Iterator[Curves]:
    results = [result for i in sorted(study.finished()) if (result := study.result(i)) and result.status == "done"]
    for dataset in dict.fromkeys(result.task.column for result in results):
        runs = [result for result in results if result.task.column == dataset]
        ((usual, _),) = Counter(tuple(e.epoch for e in result.evaluations) for result in runs).most_common(1)
        epochs = list(usual)
        alike = [r for r in runs if [e.epoch for e in r.evaluations] == epochs]
        if len(epochs) > 1 and len(alike) > MINIMUM:
            errors = np.array([[e.error(r.metric) for e in r.evaluations] for r in alike])
            seconds = np.array([[e.seconds for e in r.evaluations] for r in alike]).mean(axis=0).cumsum()
            yield Curves(dataset, epochs, errors, seconds)


def epochs_table(found: Sequence[Curves]) -> Table:
    """Spearman of each epoch's error with the last one's, with its share of the cost."""
    rows = [_row(curve, at) for curve in found for at in range(len(curve.epochs))]
    note = (
        "rho with the last epoch's errors, 95% interval over nets; cost: share of a whole run's time. Errors of one "
        "run share its luck: a second seed would agree less"
    )
    return table("epochs", "Which epoch ranks as the last one does?", rows, note)


def _row(curve: Curves, at: int) -> dict[str, Any]:
    estimate = spearman_estimate(curve.errors[:, at], curve.errors[:, -1])
    low, high = interval_at(estimate, ONE_LOOK)
    row = {"dataset": curve.dataset, "epoch": curve.epochs[at], "nets": len(curve.errors), "cost": _cost(curve, at)}
    if at == len(curve.epochs) - 1:
        return row | {"rho": 1.0, "rho_low": None, "rho_high": None}
    return row | {"rho": estimate.rho, "rho_low": low, "rho_high": high}


def _cost(curve: Curves, at: int) -> float:
    whole = curve.seconds[-1]
    return float(curve.seconds[at] / whole) if whole > 0 else curve.epochs[at] / curve.epochs[-1]


def halving_table(found: Sequence[Curves], best: int, seed: int) -> Table:
    """Successive halving on every dataset: its rungs, what it costs, and the chance that it loses one of the best."""
    rows = [_halving(curve, best, seed) for curve in found]
    note = (
        f"at each rung the better 1 in {KEEP} goes on; lost: chance that one of the {best} best at the end is not "
        f"among those left, over {RESAMPLES} resamples of the nets. For finding the best net only: {BIASED}"
    )
    return table("halving", "Successive halving", rows, note)


def _halving(curve: Curves, best: int, seed: int) -> dict[str, Any]:
    n = len(curve.errors)
    at_rungs = [curve.epochs.index(epoch) for epoch in rungs(curve.epochs, n, best)]
    rng = np.random.default_rng(seed)
    lost = [_loses(curve.errors[rng.integers(n, size=n)], at_rungs, best) for _ in range(RESAMPLES)]
    left, cost, before = n, 0.0, 0.0
    for at in [*at_rungs, len(curve.epochs) - 1]:
        cost += left * (_cost(curve, at) - before)
        before, left = _cost(curve, at), max(best, -(-left // KEEP))
    return {
        "dataset": curve.dataset,
        "nets": n,
        "rungs_after_epochs": ", ".join(str(curve.epochs[at]) for at in at_rungs),
        "cost": cost / n,
        "lost": float(np.mean(lost)),
    }


def _loses(errors: Floats, at_rungs: Sequence[int], best: int) -> bool:
    """Whether the k-th best value at the end is worse among the nets left than among all (ties lose nothing)."""
    left = np.arange(len(errors))
    for at in at_rungs:
        keep = max(best, -(-len(left) // KEEP))
        left = left[np.argsort(errors[left, at], kind="stable")[:keep]]
    return bool((np.sort(errors[left, -1])[:best] > np.sort(errors[:, -1])[:best]).any())
