"""How often do the report's 95% intervals hold the truth? Simulated studies whose truth is known.

python -m toolkit.bench coverage                          every table (docs/statistics.md); an hour
python -m toolkit.bench coverage --only pairs --studies 200
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from toolkit.cli import parser, print_json, run
from toolkit.names import unknown
from toolkit.stats.correlation import Statistic, bootstrap_correlations, bootstrap_spearman, correlations
from toolkit.stats.dependent import honest_best
from toolkit.stats.distribution import distribution
from toolkit.stats.fits import deming, ols
from toolkit.stats.intervals import CORRECTED_FROM, GAIN_FROM, clopper_pearson, correlation_interval, interval_from
from toolkit.stats.partial import partial_spearman
from toolkit.stats.ranking import Noise, flips, rank_intervals, regret_interval, same_ranking
from toolkit.stats.reliability import bootstrap_reliability, reliability
from toolkit.stats.resampling import Floats, Interval

STUDIES, RESAMPLES = 1000, 500
ROWS = (4, 5, 6, 8, 10, 15, 20, 30, 50, 100)
RHOS = (0.0, 0.5, 0.9, 0.97)
STATISTICS: tuple[Statistic, ...] = ("spearman", "kendall", "pearson")
PAIR = np.array([[0, 1]])


UNDER_EQUAL_RANKINGS = {"beyond noise": "", "by chance": "as above", "any confirmed": "to 0.05", "p < 0.05": "to 0.05"}


class Case(NamedTuple):
    """Something that the report prints, and one simulated study of it."""

    table: str
    quantity: str
    setting: str
    n: int
    study: Callable[[Generator], float | None]
    """1 when the interval holds the truth, 0 when not, None when none is given; elsewhere a number to be averaged."""
    good: str = "0.95"


def cases() -> list[Case]:
    """Every case, in the order of the report's tables."""
    found = [Case("pairs", s, f"rho {r}", n, partial(_pair, s, r, n)) for s in STATISTICS for r in RHOS for n in ROWS]
    for r in RHOS[:3]:
        found += [Case("partial", "spearman", f"rho {r}", n, partial(_partial, r, n)) for n in ROWS[2:]]
    for r in RHOS[1:3]:
        found += [Case("gains", "gain", f"rho {r} and {r - 0.2:.1f}", n, partial(_gain, r, n)) for n in ROWS[3:]]
    found += [Case("best-subset", "honest gain", "six equal ones", n, partial(_best, n)) for n in ROWS[4:]]
    for r in (0.5, 0.9):
        found += [Case("noise", "corrected", f"reliability {r}", n, partial(_corrected, r, n)) for n in (100, 200, 500)]
    for name in ("ols", "deming"):
        found += [Case("fits", name, "slope 0.5", n, partial(_slope, name, n)) for n in ROWS]
    found += [Case("distribution", "share", "uniform", n, partial(_share, n)) for n in ROWS]
    found += [Case("ranking", "value", f"error {p:g}", 1000, partial(_error, p)) for p in (0.001, 0.2)]
    for n, gap in ((10, 0.0), (10, 1.0), (100, 0.0), (100, 0.1)):
        where = f"nets {gap:g} errors apart"
        found.append(Case("ranking", "all ranks", where, n, partial(_ranks, n, gap)))
        found.append(Case("agreement", "regret", where, n, partial(_regret, n, gap)))
        for name, good in UNDER_EQUAL_RANKINGS.items():
            found.append(Case("agreement", name, where, n, partial(_equal_rankings, name, n, gap), good))
    return found


def _held(interval: Interval, truth: float) -> float | None:
    return float(interval.low <= truth <= interval.high) if np.isfinite(interval.low) else None


def _normal(rng: Generator, n: int, *correlation: float) -> Floats:
    """(n, 2) or (n, 3) normal values with the correlations of 0 with 1, 0 with 2, 1 with 2."""
    k = 2 if len(correlation) == 1 else 3
    matrix = np.eye(k)
    matrix[np.triu_indices(k, 1)] = correlation
    matrix = np.maximum(matrix, matrix.T)
    return rng.standard_normal((n, k)) @ np.linalg.cholesky(matrix).T


def _of_ranks(r: float) -> float:
    """Spearman's rho of a normal pair (Kendall 1970, ch. 9)."""
    return float(6 / np.pi * np.arcsin(r / 2))


def _pair(statistic: Statistic, r: float, n: int, rng: Generator) -> float | None:
    values = _normal(rng, n, r)
    samples = bootstrap_correlations(values, PAIR, RESAMPLES, int(rng.integers(2**31)))
    estimate = float(getattr(correlations(values, PAIR), statistic)[0])
    truth = {"spearman": _of_ranks(r), "kendall": float(2 / np.pi * np.arcsin(r)), "pearson": r}[statistic]
    return _held(correlation_interval(statistic, estimate, getattr(samples, statistic)[0], n), truth)


def _partial(r: float, n: int, rng: Generator) -> float | None:
    """Both columns correlate 0.6 with the given one, and ``r`` with each other."""
    estimate, samples = partial_spearman(_normal(rng, n, r, 0.6, 0.6), RESAMPLES, int(rng.integers(2**31)))
    given = _of_ranks(0.6) ** 2
    return _held(correlation_interval("spearman", estimate, samples, n - 1), (_of_ranks(r) - given) / (1 - given))


def _gain(r: float, n: int, rng: Generator) -> float | None:
    samples = bootstrap_spearman(
        _normal(rng, n, r, r - 0.2, 0.5), np.array([[0, 1], [0, 2]]), RESAMPLES, int(rng.integers(2**31))
    )
    return _held(interval_from(GAIN_FROM, samples[0] - samples[1], n), _of_ranks(r) - _of_ranks(r - 0.2))


def _best(n: int, rng: Generator) -> float | None:
    shared = rng.standard_normal((n, 1))
    values = np.concatenate([shared, shared + rng.standard_normal((n, 7))], axis=1)
    pairs = np.array([(0, j) for j in range(1, 8)])
    rho = correlations(values, pairs).spearman
    samples = bootstrap_spearman(values, pairs, RESAMPLES, int(rng.integers(2**31)))
    return _held(honest_best(rho[1:] - rho[0], samples[1:] - samples[0]).interval, 0.0)


def _corrected(share: float, n: int, rng: Generator) -> float | None:
    error = np.full(n, np.sqrt(1 / share - 1))
    values = _normal(rng, n, 0.6) + rng.standard_normal((n, 2)) * error[:, None]
    seed = int(rng.integers(2**31))
    pearson = bootstrap_correlations(values, PAIR, RESAMPLES, seed).pearson[0]
    a, b = (bootstrap_reliability(column, error, RESAMPLES, seed) for column in values.T)
    if not min(reliability(column, error) for column in values.T) > 0:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        return _held(interval_from(CORRECTED_FROM, pearson / np.sqrt(a * b), n), 0.6)


def _slope(name: str, n: int, rng: Generator) -> float | None:
    truth = rng.standard_normal(n)
    if name == "ols":
        return _held(ols(truth, 0.5 * truth + 0.3 * rng.standard_normal(n)).line.slope_interval, 0.5)
    x, y = truth + 0.3 * rng.standard_normal(n), 0.5 * truth + 0.3 * rng.standard_normal(n)
    return _held(deming(x, y, 1.0, RESAMPLES, int(rng.integers(2**31))).slope_interval, 0.5)


def _share(n: int, rng: Generator) -> float:
    """The true share of values up to a point of the printed curve, a third up; the values are uniform."""
    found = distribution(rng.random(n), n)
    at = len(found.at) // 3
    return float(found.low[at] <= found.at[at] <= found.high[at])


def _error(share: float, rng: Generator) -> float:
    low, high = clopper_pearson(np.array([float(rng.binomial(1000, share))]), np.array([1000.0]))
    return float(low[0] <= share <= high[0])


def _ranks(n: int, gap: float, rng: Generator) -> float:
    """Whether all true ranks are within; nets that are equal may have any rank among them."""
    errors = rng.uniform(0.5, 1.5, n)
    low, high = rank_intervals(gap * np.arange(n) + errors * rng.standard_normal(n), errors)
    first, last = (np.ones(n), np.full(n, n)) if gap == 0 else (np.arange(n) + 1, np.arange(n) + 1)
    return float(((low <= first) & (last <= high)).all())


def _regret(n: int, gap: float, rng: Generator) -> float | None:
    truth, errors = gap * np.arange(n), np.ones(n)
    x, y = truth + 3 * rng.standard_normal(n), truth + rng.standard_normal(n)
    return _held(regret_interval(x, y, errors, int(rng.integers(2**31))), float(truth[x.argmin()] - truth.min()))


def _equal_rankings(name: str, n: int, gap: float, rng: Generator) -> float:
    truth, errors = gap * np.arange(n), np.ones(n)
    x, y = truth + rng.standard_normal(n), truth + rng.standard_normal(n)
    if name in ("beyond noise", "any confirmed"):
        noise = Noise(errors, *np.full((2, n), np.nan))
        found = flips(x, y, noise, noise)
        return found.beyond_noise if name == "beyond noise" else float(found.confirmed > 0)
    same = same_ranking(x, y, errors, errors, int(rng.integers(2**31)))
    return same.beyond_noise if name == "by chance" else float(same.p < 0.05)


def main(argv: Sequence[str]) -> int:
    """Simulate and print."""
    options = parser("toolkit.bench coverage", __doc__)
    options.add_argument("--studies", type=int, default=STUDIES, help=f"simulated studies of each case ({STUDIES})")
    options.add_argument("--only", metavar="TABLE", help="the cases of one table of the report")
    options.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    args = options.parse_args(argv)
    tables = list(dict.fromkeys(case.table for case in cases()))
    if args.only and args.only not in tables:
        raise unknown("table", args.only, tables)
    found = [simulate(case, args.studies) for case in cases() if args.only in (None, case.table)]
    if args.json:
        print_json(found)
    else:
        print("\n".join(lines(found)))
    return 0


def simulate(case: Case, studies: int) -> dict[str, Any]:
    """The mean of a case over ``studies``, and the share of them that gave a number at all. Always the same draws."""
    rng = np.random.default_rng(0)
    results = [case.study(rng) for _ in range(studies)]
    given = [value for value in results if value is not None]
    mean = float(np.mean(given)) if given else None
    return case._asdict() | {"study": studies, "found": mean, "given": len(given) / studies}


def lines(found: Sequence[dict[str, Any]]) -> list[str]:
    """A Markdown table, the cases of one setting in one row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for row in found:
        value = "none" if row["found"] is None else f"{row['found']:.3f}"
        value += f" ({row['given']:.0%} given)" if 0 < row["given"] < 1 else ""
        rows.setdefault((row["table"], row["quantity"], row["setting"], row["good"]), []).append(
            f"n {row['n']}: {value}"
        )
    head = ["| table | quantity | setting | should be | found |", "|---|---|---|---|---|"]
    return head + [f"| {' | '.join(key)} | {', '.join(values)} |" for key, values in rows.items()]


if __name__ == "__main__":
    run(main)
