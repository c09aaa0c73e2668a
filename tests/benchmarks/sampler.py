"""Draw a population twice: in batches, and one net at a time, as a plain reading of the paper would.

Both draw from the same distribution until they have as many different nets within the budget; the ratio is of
their times in this one run.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from toolkit.anynet import AnyNetConfig, sample
from toolkit.cli import parser, print_json, run

BUDGET = (360e6, 400e6)


def main(argv: Sequence[str]) -> int:
    """Time both samplers and print the ratio."""
    arguments = parser("toolkit.bench sampler", __doc__)
    arguments.add_argument("--nets", type=int, default=500, help="size of the population (default 500)")
    arguments.add_argument("--repeats", type=int, default=3, help="seeds to time each sampler on (default 3)")
    arguments.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    given = arguments.parse_args(argv)
    document = measure(given.nets, given.repeats)
    if given.json:
        print_json(document)
    else:
        _show(document)
    return 0


def measure(nets: int, repeats: int) -> dict[str, Any]:
    """Seconds of each sampler by seed, and the ratio of their medians."""
    batches = [_seconds(partial(sample, nets, BUDGET, seed)) for seed in range(repeats)]
    single = [_seconds(partial(sample_one_by_one, nets, seed)) for seed in range(repeats)]
    return {
        "nets": nets,
        "batches_s": batches,
        "one_by_one_s": single,
        "ratio": median(single) / median(batches),
    }


def sample_one_by_one(n: int, seed: int = 0) -> list[AnyNetConfig]:
    """The peer: draw a net, make it compatible, count it, keep it when it is new and within the budget."""
    source = random.Random(seed)
    found: dict[AnyNetConfig, None] = {}
    while len(found) < n:
        net = AnyNetConfig(
            depths=tuple(_log_uniform(source, 0.5, 16, 1) for _ in range(4)),
            widths=tuple(_log_uniform(source, 4, 1024, 8) for _ in range(4)),
            bottlenecks=tuple(source.choice((1, 2, 4)) for _ in range(4)),
            group_widths=tuple(_log_uniform(source, 0.5, 32, 1) for _ in range(4)),
        ).compatible()
        if BUDGET[0] <= net.complexity().flops <= BUDGET[1]:
            found[net] = None
    return list(found)


def _log_uniform(source: random.Random, low: float, high: float, step: int) -> int:
    return math.ceil(math.exp(source.uniform(math.log(low), math.log(high))) / step) * step


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _show(document: dict[str, Any]) -> None:
    table = Table(title=f"{document['nets']} nets of {BUDGET[0] / 1e6:g} to {BUDGET[1] / 1e6:g} MF")
    for column in ("sampler", "seconds (median)", "nets/s"):
        table.add_column(column, justify="left" if column == "sampler" else "right")
    for title, key in {"in batches": "batches_s", "one by one": "one_by_one_s"}.items():
        seconds = median(document[key])
        table.add_row(title, f"{seconds:.4f}", f"{document['nets'] / seconds:,.0f}")
    Console().print(table, f"ratio {document['ratio']:.0f}")


if __name__ == "__main__":
    run(main)
