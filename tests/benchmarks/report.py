"""The report's speed: all correlations with intervals against scipy.stats in a loop, and the scan of results.

python -m toolkit.bench report                   500 x 13: correlations, scan, and the shipped study's terminal report;
                                                 121 x 39: all files of a table as wide as open_clip's
python -m toolkit.bench report --many 100000     and a scan of so many results, with its memory
python -m toolkit.bench report --widest          and all files of 338 x 213, as wide as imagenet-testbed's
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from scipy import stats

from toolkit.cli import Parser, parser, print_json
from toolkit.errors import ToolkitError
from toolkit.stats.correlation import bootstrap_correlations
from toolkit.stats.resampling import Draws
from toolkit.study import Evaluation, Provenance, Recipe, Result, Study, Task, Timing
from toolkit.study.scan import scan

ARCHITECTURES, DATASETS, RESAMPLES = 500, 13, 10_000
SCIPY_PART = 600
"""Correlations timed of scipy.stats; the whole is that many times more."""
WIDE, WIDEST = (121, 39), (338, 213)
"""Architectures and datasets of openclip_results.csv (open_clip) and of imagenet-testbed's table of robustness."""
EPOCHS = 30
"""Evaluations in a benchmarked result: the longest of the published study."""


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    args = _parser().parse_args(argv)
    figures: dict[str, Any] = {"correlations": correlations_speed(), "scan": scan_speed(ARCHITECTURES, DATASETS)}
    figures["terminal_s"] = terminal_s()
    figures["files"] = [files_of_a_table(*size) for size in (WIDE, WIDEST)[: 1 + args.widest]]
    if args.many:
        figures["many"] = many(args.many)
    if args.json:
        print_json(figures)
    else:
        print("\n".join(_lines(figures)))
    return 0


def _parser() -> Parser:
    options = parser("toolkit.bench report", __doc__)
    options.add_argument("--many", type=int, default=0, metavar="N", help="also scan N results")
    options.add_argument("--widest", action="store_true", help="also write all files of a 338 x 213 table")
    options.add_argument("--json", action="store_true", help="print JSON")
    return options


def correlations_speed() -> dict[str, float]:
    """Seconds for all statistics of all pairs with `RESAMPLES` resamples, here and by scipy.stats (from a part)."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((ARCHITECTURES, DATASETS)) + rng.standard_normal((ARCHITECTURES, 1))
    pairs = np.array(list(combinations(range(DATASETS), 2)))
    bootstrap_correlations(values, pairs[:1], Draws(1, 0))  # load the compiled kernel
    ours, _ = timed(lambda: bootstrap_correlations(values, pairs, Draws(RESAMPLES, 0)))

    def by_scipy() -> None:
        for i in range(SCIPY_PART // 3):
            rows = rng.integers(ARCHITECTURES, size=ARCHITECTURES)
            x, y = values[np.ix_(rows, pairs[i % len(pairs)])].T
            for statistic in (stats.spearmanr, stats.kendalltau, stats.pearsonr):
                statistic(x, y)

    part, _ = timed(by_scipy)
    whole = part / SCIPY_PART * 3 * len(pairs) * RESAMPLES
    return {"pairs": len(pairs), "ours_s": ours, "scipy_part_s": part, "scipy_s": whole, "ratio": whole / ours}


def scan_speed(architectures: int, datasets: int) -> dict[str, float]:
    """Seconds to read a study's results into a frame, and for json.load in a loop to pandas; best of three each."""
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder) / "study", architectures, datasets)
        runs = [(timed(lambda: scan(study)), timed(lambda: by_pandas(study))) for _ in range(3)]
        ours, theirs = (min(run[i][0] for run in runs) for i in (0, 1))
        return {"results": len(runs[0][0][1].frame), "ours_s": ours, "pandas_s": theirs, "ratio": theirs / ours}


def by_pandas(study: Study) -> Any:
    """What one would write: json.load in a loop, pandas.json_normalize."""
    documents = []
    for path in sorted(study.room("results").glob("*.json")):
        with path.open() as file:
            documents.append(json.load(file))
    return pandas.json_normalize(documents)


def many(count: int) -> dict[str, float]:
    """Seconds and memory to scan ``count`` results in a process of its own."""
    script = (
        "import polars, pathlib, sys, time\n"
        "from toolkit.study import Study; from toolkit.study.scan import scan\n"
        "status = pathlib.Path('/proc/self/status')\n"
        "peak = lambda: int(status.read_text().split('VmHWM:')[1].split()[0]) / 1024\n"
        "before = peak(); "
        "start = time.perf_counter(); found = scan(Study.open(sys.argv[1]));\n"
        "print(len(found.frame), time.perf_counter() - start, peak() - before)"
    )
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder) / "study", -(-count // DATASETS), DATASETS)
        done = subprocess.run([sys.executable, "-c", script, study.path], capture_output=True, text=True, check=True)
    results, seconds, memory = map(float, done.stdout.split())
    return {"results": int(results), "seconds": seconds, "memory_mib": memory}


def terminal_s() -> float:
    """Seconds from typing ``report tuggener2022`` to its end; the best of three, kernels compiled before."""
    command = [sys.executable, "-m", "toolkit.report", "tuggener2022"]
    return min(timed(lambda: subprocess.run(command, capture_output=True, check=True))[0] for _ in range(3))


def files_of_a_table(architectures: int, datasets: int) -> dict[str, float]:
    """Seconds and peak memory of ``report TABLE --out FOLDER``, typed by a user: tables, figures and page."""
    rng = np.random.default_rng(0)
    ability, share = rng.standard_normal((architectures, 1)), rng.uniform(0.3, 1, datasets)
    logits = ability * share + 0.5 * rng.standard_normal((architectures, datasets))
    with tempfile.TemporaryDirectory() as folder:
        table, out = Path(folder) / "table.csv", Path(folder) / "out"
        lines = [",".join(["name", "imagenet", *(f"set-{i}" for i in range(1, datasets))])]
        lines += [f"net-{i}," + ",".join(f"{1 / (1 + np.exp(-x)):.4f}" for x in row) for i, row in enumerate(logits)]
        table.write_text("\n".join(lines))
        start = time.perf_counter()
        command = [sys.executable, "-m", "toolkit.report", str(table), "--accuracy", "--out", str(out)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status or not (out / "index.html").is_file():
            raise ToolkitError(f"toolkit.report ended with {status} on a table of {architectures} x {datasets}")
    return {
        "architectures": architectures,
        "datasets": datasets,
        "seconds": seconds,
        "processor_s": used.ru_utime + used.ru_stime,
        "memory_mib": used.ru_maxrss / 1024,
    }


def make_study(path: Path, architectures: int, datasets: int) -> Study:
    """A study whose results have the published study's size."""
    study = Study.create(path)
    recipe = Recipe(epochs=EPOCHS)
    evaluations = tuple(
        Evaluation(
            epoch=e, images=10_000, wrong_top1=9_000 - 200 * e, wrong_top5=4_000 - 100 * e, loss=1 / e, seconds=9.0
        )
        for e in range(1, EPOCHS + 1)
    )
    for dataset in range(datasets):
        for architecture in range(architectures):
            task = Task(
                architecture=f"anynetx-500/{architecture}",
                dataset=f"d{dataset}",
                dataset_hash=f"{dataset}" * 8,
                recipe=recipe,
            )
            result = Result(
                id=task.id,
                task=task,
                status="done",
                metric="top1",
                classes=10,
                evaluations=evaluations,
                timing=Timing(total_s=9.0),
                provenance=Provenance(toolkit="0", dataset_hash=task.dataset_hash),
            )
            study.result_path(task.id).write_bytes(result.model_dump_json(indent=1).encode())
    return study


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds a call takes, and what it returns."""
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def _lines(figures: dict[str, Any]) -> list[str]:
    c, s = figures["correlations"], figures["scan"]
    lines = [
        f"{ARCHITECTURES} x {DATASETS}, {c['pairs']} pairs, Spearman + Kendall + Pearson, B = {RESAMPLES}: "
        f"{c['ours_s']:.2f} s; scipy.stats in a loop {c['scipy_s']:.0f} s "
        f"(from {SCIPY_PART} correlations in {c['scipy_part_s']:.2f} s): {c['ratio']:.0f} times",
        f"scan of {s['results']} results: {s['ours_s']:.2f} s; json.load to pandas {s['pandas_s']:.2f} s: "
        f"{s['ratio']:.1f} times",
        f"report tuggener2022 in the terminal: {figures['terminal_s']:.2f} s",
    ]
    for f in figures["files"]:
        cost = f"{f['seconds']:.1f} s ({f['processor_s']:.1f} s of processor time), {f['memory_mib']:.0f} MiB"
        lines.append(f"all files of {f['architectures']} x {f['datasets']}: {cost}")
    if "many" in figures:
        m = figures["many"]
        lines.append(f"scan of {m['results']} results: {m['seconds']:.1f} s, {m['memory_mib']:.0f} MiB more memory")
    return lines
