"""The summary in the terminal: the finding in words, then the tables that carry it."""

from typing import TYPE_CHECKING

import polars as pl

from toolkit.analysis.document import Report
from toolkit.render.cells import number
from toolkit.render.escape import terminal
from toolkit.render.terminal import console, show

if TYPE_CHECKING:
    from rich.console import Console

BEST = 5
"""Architectures shown of each dataset while there are few datasets."""
FEW = 5
"""Datasets up to which every pair is printed; above, those with the reference and one matrix."""
ALL = "Spearman between all datasets"
ACROSS = 13
"""Datasets whose matrix fits across a terminal."""
COLUMNS = {
    "sequential": ("target", "nets", "rho", "rho_low", "rho_high", "verdict", "settled", "why"),
    "coverage": ("dataset", "scale", "paired", "of", "runs", "missing", "failed", "diverged", "min", "median", "max"),
    "pairs": ("a", "b", "n", "missing", "spearman", "kendall", "pearson"),
    "best-subset": ("target", "best_subset", "naive_gain", "honest_gain", "picked", "n"),
    "draws": ("target", "classes", "draws", "mean_gain", "sd", "min", "max", "share_positive"),
    "agreement": (
        *("dataset", "n", "flips", "of_pairs", "beyond_noise", "by_chance", "confirmed", "same_p"),
        *("top_5", "top_15", "regret", "regret_at_most"),
    ),
    "noise": ("a", "b", "n", "spearman", "ceiling", "noiseless"),
    "top": ("dataset", "n", "weighted_tau", "rbo", "lost_1", "lost_3", "lost_10", "lost_by_lot"),
    "variance": ("source", "means", "deviation", "share"),
    "concordance": ("nets", "left_out", "datasets", "kendall_w", "mean_rho", "p", "critical_difference"),
    "errata": ("where", "dataset", "printed", "found"),
}


def summarise(report: Report) -> None:
    """Print the report's summary."""
    out = console()
    for sentence in report.finding:
        out.print(terminal(sentence), markup=False)
    for line in report.data.conditions:
        out.print(terminal(f"Trained by {line}"), markup=False)
    out.print()
    _show(out, report, "sequential", digits=2)
    _show(out, report, "coverage")
    if "ranking" in report.tables:
        _show_best(out, report)
    if "pairs" in report.tables:
        _show_pairs(out, report)
    for name in ("best-subset", "draws", "agreement", "noise", "top", "variance", "concordance"):
        _show(out, report, name, digits=2)
    if "printed" in report.tables:
        _show_printed(out, report)
    _show(out, report, "errata")
    for name in report.tables:
        if name.startswith("beside-"):
            columns = ("a", "b", "published", "n_published", "here", "n_here", "overlap")
            _print(out, report, name, report.tables[name].frame, columns, 2)


def _show(out: "Console", report: Report, name: str, digits: int = 3) -> None:
    """Print a table's `COLUMNS`, if the report has it; its note stays with the files when it is long."""
    if name in report.tables:
        _print(out, report, name, report.tables[name].frame, COLUMNS[name], digits)


def _print(
    out: "Console", report: Report, name: str, frame: pl.DataFrame, columns: tuple[str, ...], digits: int
) -> None:
    """Print ``columns`` that have something to say; a remark that all rows share goes below the table."""
    found = report.tables[name]
    remarks = frame["note"].unique(maintain_order=True).to_list() if "note" in frame.columns else []
    columns = (*columns, "note") if len(remarks) > 1 else columns
    shown = tuple(c for c in columns if c in frame.columns and frame[c].is_not_null().any())
    if name == "pairs" and not frame["missing"].sum():
        shown = tuple(c for c in shown if c != "missing")
    shared = f"{remarks[0]}; " if len(remarks) == 1 and remarks[0] else ""
    show(out, found.title, frame, shown, shared + found.note, digits)


def _show_best(out: "Console", report: Report) -> None:
    found = report.tables["ranking"]
    top = BEST if len(report.data.datasets) <= FEW else 1
    best = found.frame.filter(pl.col("rank") <= top)
    first = pl.col("rank") == 1
    best = best.with_columns(dataset=pl.when(first).then("dataset").otherwise(pl.lit("")))
    known = (found.frame["noise"] != "unknown").any()
    note = found.note if known else "no intervals: neither counts nor seeds nor --noise tell the noise"
    columns = ("dataset", "rank", "architecture", "value")
    show(out, "Best of each dataset", best, columns if top > 1 else ("dataset", "architecture", "value"), note)


def _show_pairs(out: "Console", report: Report) -> None:
    frame = report.tables["pairs"].frame
    reference = report.roles.reference
    if len(report.data.datasets) > FEW:
        _show_matrix(out, report)
        frame = frame.filter((pl.col("a") == reference) | (pl.col("b") == reference))
    _print(out, report, "pairs", frame, COLUMNS["pairs"], 2)


def _show_matrix(out: "Console", report: Report) -> None:
    """Spearman between datasets, columns numbered to fit; of many datasets those that tell most."""
    frame, names = report.tables["matrix-spearman"].frame, _most_telling(report)
    short = {name: str(i) for i, name in enumerate(names, 1)}
    rows = [
        {"": f"{short[row['dataset']]} {row['dataset']}"} | {short[name]: number(row[name], digits=2) for name in short}
        for row in frame.iter_rows(named=True)
        if row["dataset"] in short
    ]
    hidden = len(report.data.datasets) - len(names)
    reference = report.roles.reference
    note = (
        f"{hidden} more datasets, between these in their agreement with {reference}, are in the files" if hidden else ""
    )
    show(out, "Spearman between datasets" if hidden else "Spearman between all datasets", pl.DataFrame(rows), note=note)


def _most_telling(report: Report) -> list[str]:
    """At most `ACROSS` datasets: the reference, those that agree with it most, and those that agree least."""
    names, reference = report.data.datasets, report.roles.reference
    if len(names) <= ACROSS:
        return names
    row = next(r for r in report.tables["matrix-spearman"].frame.iter_rows(named=True) if r["dataset"] == reference)
    known = sorted((name for name in names if name != reference and row[name] is not None), key=lambda n: -row[n])
    half = (ACROSS - 1) // 2
    return [reference, *known[:half], *known[max(half, len(known) - half) :]]


def _show_printed(out: "Console", report: Report) -> None:
    """Printed numbers and recomputed ones, a column for each of the paper's columns."""
    found = report.tables["printed"]
    cells: dict[str, dict[str, str]] = {}
    for row in found.frame.iter_rows(named=True):
        printed, recomputed = (f"{row[key]:5.3f}".replace("0.", ".") for key in ("printed", "recomputed"))
        text = f"{printed:>5} {recomputed:>5}{'' if row['agrees'] else ' !'}"
        cells.setdefault(row["dataset"], {"dataset": row["dataset"]})[row["short"]] = text
    columns = ["dataset", *found.frame["short"].unique(maintain_order=True)]
    rows = [{c: cells[name].get(c, "") for c in columns} for name in report.data.datasets if name in cells]
    note = "each cell: as printed, as recomputed; ! marks more than the points' accuracy apart"
    show(out, found.title, pl.DataFrame(rows), note=note)
