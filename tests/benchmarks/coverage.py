"""How often do the report's 95% intervals hold the truth? Simulated studies whose truth is known.

python -m toolkit.bench coverage                          every table (docs/statistics.md); an hour
python -m toolkit.bench coverage --only pairs fits --studies 200
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from tests.benchmarks import _simulated as simulated
from toolkit.cli import parser, print_json, run
from toolkit.names import unknown
from toolkit.stats.correlation import Statistic
from toolkit.stats.variance import Split

STUDIES = 1000
ROWS = (4, 5, 6, 8, 9, 10, 12, 15, 20, 30, 50, 100)
RHOS = (0.0, 0.5, 0.9, 0.97)
STATISTICS: tuple[Statistic, ...] = ("spearman", "kendall", "pearson")


AT_LEAST = "0.95 or more"
"""Of intervals that guarantee their level, whatever the truth is: they hold some truths more often."""
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
    return [*_of_correlations(), *_of_families(), *_of_other_intervals(), *_of_rankings(), *_of_many_datasets()]


def _over(
    rows: Sequence[int],
    table: str,
    quantity: str,
    setting: str,
    study: Callable[..., float | None],
    good: str = "0.95",
) -> list[Case]:
    """A case for each number of rows, which the study takes last but its generator."""
    return [Case(table, quantity, setting, n, partial(study, n), good) for n in rows]


def _of_correlations() -> Iterator[Case]:
    for statistic in STATISTICS:
        for r in RHOS:
            yield from _over(ROWS, "pairs", statistic, f"rho {r}", partial(simulated.pair, statistic, r))
    for r in RHOS[:3]:
        yield from _over(ROWS[2:], "partial", "spearman", f"rho {r}", partial(simulated.partial_pair, r))
    for r in RHOS[1:3]:
        yield from _over(ROWS[3:], "gains", "gain", f"rho {r} and {r - 0.2:.1f}", partial(simulated.gain, r))
    yield from _over(ROWS[5:], "best-subset", "honest gain", "six equal ones", simulated.best)


def _of_families() -> Iterator[Case]:
    for count, shared, r in ((9, 0.9, 0.5), (15, 0.9, 0.5), (15, 0.5, 0.9), (40, 0.9, 0.9)):
        where = f"families share {shared}"
        for statistic in STATISTICS:
            study = partial(simulated.families_pair, statistic, r, shared)
            yield from _over((count,), "families", statistic, f"rho {r}, {where}", study)


def _of_other_intervals() -> Iterator[Case]:
    for share in (0.5, 0.9):
        for r in (0.6, 0.9):
            pearson = partial(simulated.corrected, "pearson", r, share)
            where = f"rho {r}, reliability {share}"
            yield from _over((200, 500), "noise", "pearson corrected", where, pearson)
        for r in (0.6, 0.9):
            noiseless = partial(simulated.corrected, "spearman", r, share)
            yield from _over((30, 50, 100, 200), "noise", "noiseless", f"rho {r}, reliability {share}", noiseless)
    for name, part in product(("ols", "deming"), ("slope", "intercept")):
        yield from _over(ROWS, "fits", name, part, partial(simulated.line, name, part))
    yield from _over(ROWS, "distribution", "share", "uniform", simulated.share, AT_LEAST)
    for p in (0.001, 0.01, 0.2):
        yield from _over((1000,), "ranking", "value", f"error {p:g}", partial(simulated.error, p), AT_LEAST)


def _of_rankings() -> Iterator[Case]:
    one_best = partial(simulated.regret, np.inf)
    yield from _over((10, 100), "agreement", "regret at most", "one net best by far", one_best, AT_LEAST)
    for n, gap in ((10, 0.0), (10, 1.0), (100, 0.0), (100, 0.1)):
        where = f"nets {gap:g} errors apart"
        yield Case("ranking", "all ranks", where, n, partial(simulated.ranks, n, gap), AT_LEAST)
        yield Case("agreement", "regret at most", where, n, partial(simulated.regret, gap, n), AT_LEAST)
        yield Case("agreement", "power of p", where, n, partial(simulated.other_ranking, False, n, gap), "")
        yield Case(
            "agreement", "knowing the null", where, n, partial(simulated.other_ranking, True, n, gap), "as above"
        )
        for name, good in UNDER_EQUAL_RANKINGS.items():
            yield Case("agreement", name, where, n, partial(simulated.equal_rankings, name, n, gap), good)


def _of_many_datasets() -> Iterator[Case]:
    for source in Split._fields:
        component = partial(simulated.component, source, 5)
        yield from _over((15, 20, 30, 50, 100), "variance", source, "5 datasets", component)
    for datasets in (3, 5, 10):
        for name in ("p < 0.05", "any two apart"):
            study = partial(simulated.friedman, name, datasets)
            yield from _over((4, 10, 100), "concordance", name, f"{datasets} datasets", study, "to 0.05")
    for name, good in (("band", "0.95"), ("any confirmed", "to 0.05")):
        yield from _over((8, 10, 30, 100), "robustness", name, "a straight line", partial(simulated.band, name), good)
    for r in (0.5, 0.9):
        yield from _over(ROWS[3:], "redundancy", "with the rest", f"rho {r}", partial(simulated.with_the_rest, r))


def main(argv: Sequence[str]) -> int:
    """Simulate and print."""
    options = parser("toolkit.bench coverage", __doc__)
    options.add_argument("--studies", type=int, default=STUDIES, help=f"simulated studies of each case ({STUDIES})")
    options.add_argument("--only", nargs="+", metavar="TABLE", help="the cases of these tables of the report")
    options.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    args = options.parse_args(argv)
    tables = list(dict.fromkeys(case.table for case in cases()))
    for name in args.only or ():
        if name not in tables:
            raise unknown("table", name, tables)
    found = [simulate(case, args.studies) for case in cases() if case.table in (args.only or tables)]
    if args.json:
        print_json(found)
    else:
        print("\n".join(lines(found)))
        print(
            f"\n{args.studies} studies each: one standard error of a 0.95 is {(0.95 * 0.05 / args.studies) ** 0.5:.3f}"
        )
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
