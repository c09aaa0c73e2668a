"""Figures as PNG and SVG. The same data gives the same bytes: no dates, no random ids.

No figure grows without bound: what has more rows or panels than a sheet of paper takes goes on in further files
(`correlations`, `correlations-2`, ...), and after `SHEETS` of them in the page alone, which draws what is looked at.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from toolkit.analysis.document import Report
from toolkit.analysis.table import bounds
from toolkit.files import atomic
from toolkit.render.escape import figure as label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, ACCENT, GREY, PALE = "#1f2933", "#0b6e99", "#7b8794", "#e4e7eb"
BLUE, RED = (0.04, 0.43, 0.60), (0.76, 0.22, 0.17)
SERIES = ("#0b6e99", "#d9822b", "#3f8f5f", "#8e4a9e", "#c0392b", "#5c6b7a")
FORMATS = ("png", "svg")
DPI = 200
VECTOR_POINTS = 20_000
"""Points up to which a scatter matrix stays vectors in the SVG."""
MATRIX, GRID = 13, 60
"""Datasets up to which a figure sets each against each: as points, and as a number in a grid."""
SHEETS = 3
"""Files that one figure goes on in."""
NUMBERED = 700
"""Cells of a grid up to which each has its number written in it."""
ROWS, PANELS, GAIN_TARGETS = 60, 24, 12
"""Rows, small plots and targets of one sheet."""
STYLE = {
    "svg.hashsalt": "toolkit",
    "svg.fonttype": "none",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
}


def figures(report: Report) -> Iterator[tuple[str, Figure]]:
    """Every figure that ``report`` has data for, with its name; one at a time, for a sheet takes megabytes."""
    with matplotlib.rc_context(STYLE):
        if "pairs" in report.tables:
            yield from _overview(report)
            yield from _sheets("correlations", with_reference(report), ROWS, lambda rows: forest(report, rows))
        if "gains" in report.tables:
            yield from _sheets("gains", _targets(report), GAIN_TARGETS, lambda targets: gains(report, targets))
        names = report.tables["distribution"].frame["dataset"].unique(maintain_order=True).to_list()
        yield from _sheets("distribution", names, PANELS, lambda part: distribution(report, part))
        if "attributes" in report.tables:
            yield from _sheets("attributes", report.data.datasets, ROWS, lambda part: attributes(report, part))


def _overview(report: Report) -> Iterator[tuple[str, Figure]]:
    """All datasets against each other: points while they fit on a sheet, then numbers, and the reference's points."""
    names, reference = report.data.datasets, report.roles.reference
    if len(names) == 2:
        yield "scatter", scatter_pair(report)
    elif len(names) <= MATRIX:
        yield "scatter", scatter_matrix(report)
    else:
        others = [name for name in names if name != reference]
        yield from _sheets("scatter", others, PANELS, lambda part: scatter_reference(report, part))
        if len(names) <= GRID:
            yield "matrix", matrix(report)


def _sheets(
    name: str, items: Sequence[Any], size: int, draw: Callable[[Sequence[Any]], Figure]
) -> Iterator[tuple[str, Figure]]:
    """Figures of ``size`` items each, at most `SHEETS`."""
    for number, start in enumerate(range(0, min(len(items), SHEETS * size), size), 1):
        yield (name if number == 1 else f"{name}-{number}"), draw(items[start : start + size])


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``figure`` in all `FORMATS` and return the files."""
    paths = [folder / f"{name}.{suffix}" for suffix in FORMATS]
    with matplotlib.rc_context(STYLE):
        figure.draw_without_rendering()  # makes the layout, which each format would make anew
        figure.set_layout_engine("none")
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        with atomic(path) as temporary, matplotlib.rc_context(STYLE):
            figure.savefig(temporary, format=path.suffix[1:], dpi=DPI, metadata=metadata)
    return paths


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


LABELLED = 30
"""Points up to which each is named in the scatter plot of a pair."""


def scatter_pair(report: Report) -> Figure:
    """Two datasets, one point an architecture, named where there is room; rho and its interval above."""
    data, (x_name, y_name) = report.data, report.data.datasets
    x, y = data.column(x_name), data.column(y_name)
    figure = _figure(5.5, 4.5)
    axis = figure.subplots()
    axis.scatter(x, y, s=28, c=ACCENT, alpha=0.7, lw=0, zorder=2)
    if len(data.architectures) <= LABELLED:
        for name, *place in zip(data.architectures, x, y, strict=True):
            if np.isfinite(place).all():
                axis.annotate(
                    label(name), (place[0], place[1]), xytext=(5, 3), textcoords="offset points", size=6, color=GREY
                )
    axis.margins(x=0.15)
    unit = f" ({data.unit})" if data.unit else ""
    axis.set(xlabel=label(f"{data.quantity} on {x_name}{unit}"), ylabel=label(f"{data.quantity} on {y_name}{unit}"))
    axis.set_title(_rho_in_words(report.tables["pairs"].frame.row(0, named=True)))
    return figure


def _rho_in_words(pair: dict[str, Any]) -> str:
    if pair["spearman"] is None:
        return f"Spearman's rho: not defined, n = {pair['n']}"
    low, high = pair["spearman_low"], pair["spearman_high"]
    interval = f" {bounds(low, high, 2)}" if low is not None else ""
    return f"Spearman's rho {pair['spearman']:.2f}{interval}, n = {pair['n']}"


def scatter_matrix(report: Report) -> Figure:
    """Every dataset against every other, one point an architecture; Spearman's rho above the diagonal."""
    data, names = report.data, report.data.datasets
    k = len(names)
    side = max(1.0, min(2.4, 13 / k))
    figure = _figure(side * k, side * k)
    axes = figure.subplots(k, k, squeeze=False)
    many = k * k * len(data.architectures) > VECTOR_POINTS
    rho = {(row["a"], row["b"]): row["spearman"] for row in report.tables["pairs"].frame.iter_rows(named=True)}
    for row, column in product(range(k), range(k)):
        axis: Axes = axes[row, column]
        if row > column:
            x, y = data.column(names[column]), data.column(names[row])
            axis.scatter(x, y, s=36 / k, c=ACCENT, alpha=0.45, lw=0, rasterized=many)
            axis.tick_params(labelsize=5, length=2, labelbottom=row == k - 1, labelleft=column == 0)
        elif row == column:
            _write(axis, names[row], weight="bold", size=min(10, 95 * side / len(names[row])))
        else:
            _write_rho(axis, rho[names[row], names[column]])
    unit = f" ({data.unit})" if data.unit else ""
    figure.supxlabel(f"{data.quantity}{unit}; above the diagonal: Spearman's rho", size=8, color=INK)
    return figure


def _write(axis: "Axes", text: str, **style: Any) -> None:
    axis.text(0.5, 0.5, label(text), ha="center", va="center", transform=axis.transAxes, **style)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)


def _write_rho(axis: "Axes", rho: float | None) -> None:
    """The number on a ground of its own colour: blue for agreement, red for reversal."""
    if rho is None:
        _write(axis, "n/a", size=8, color=GREY)
        return
    axis.set_facecolor((*(BLUE if rho > 0 else RED), abs(rho) * 0.85))
    _write(axis, f"{rho:.2f}", size=9, color="white" if abs(rho) > 0.6 else INK)


def scatter_reference(report: Report, others: Sequence[str]) -> Figure:
    """The reference against each of ``others``, one point an architecture; Spearman's rho above."""
    data, reference = report.data, report.roles.reference
    rho = {row["other"]: row["spearman"] for row in with_reference(report)}
    figure, axes = _small_plots(len(others))
    for name, axis in zip(others, axes, strict=False):
        axis.scatter(data.column(reference), data.column(name), s=6, c=ACCENT, alpha=0.5, lw=0, rasterized=True)
        told = "n/a" if rho[name] is None else f"{rho[name]:.2f}"
        axis.set_title(f"{label(name)}: {told}", size=7)
        axis.tick_params(labelsize=5)
    unit = f" ({data.unit})" if data.unit else ""
    figure.supxlabel(label(f"{data.quantity} on {reference}{unit}"), size=8, color=INK)
    figure.supylabel(f"{data.quantity}{unit}; above: Spearman's rho", size=8, color=INK)
    return figure


def matrix(report: Report) -> Figure:
    """Spearman between all datasets as a coloured grid, blue for agreement, red for reversal."""
    names = report.data.datasets
    rho = {(row["a"], row["b"]): row["spearman"] for row in report.tables["pairs"].frame.iter_rows(named=True)}
    rho |= {(b, a): value for (a, b), value in rho.items()} | {(name, name): 1.0 for name in names}
    figure = _figure(2 + 0.22 * len(names), 2 + 0.2 * len(names))
    axis = figure.subplots()
    _grid(axis, np.array([[rho[a, b] for b in names] for a in names], float), names, names)
    axis.set_title("Spearman's rho between all datasets")
    return figure


def _small_plots(count: int) -> "tuple[Figure, Sequence[Axes]]":
    """Room for ``count`` small plots, four in a row; what stays empty is not drawn."""
    columns = min(4, count)
    rows = -(-count // columns)
    figure = _figure(2.1 * columns, 1.7 * rows + 0.3)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[:count]:
        axis.locator_params(nbins=3)  # each tick's label is set anew in every drawing: most of a sheet's time
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes


def with_reference(report: Report) -> list[dict[str, Any]]:
    """The rows of the pairs that have a correlation with the reference, the other dataset as ``other``; best first."""
    reference = report.roles.reference
    pairs = report.tables["pairs"].frame.filter((pl.col("a") == reference) | (pl.col("b") == reference))
    other = pl.when(pl.col("a") == reference).then("b").otherwise("a")
    return (
        pairs.with_columns(other=other).sort("spearman", "other", descending=[True, False], nulls_last=True).to_dicts()
    )


def forest(report: Report, best_first: Sequence[dict[str, Any]]) -> Figure:
    """Spearman of the reference with other datasets (rows of `with_reference`), with intervals, largest on top."""
    rows = [row for row in reversed(best_first) if row["spearman"] is not None]
    figure = _figure(5.5, 0.9 + 0.26 * len(rows))
    axis = figure.subplots()
    for y, row in enumerate(rows):
        _interval(axis, row, "spearman", y, ACCENT if row["other"] in report.roles.targets else GREY)
    axis.set(yticks=range(len(rows)), yticklabels=[label(row["other"]) for row in rows], xlim=(-1.02, 1.02))
    _zero_line(axis)
    axis.set_xlabel("Spearman's rho, 95% interval over architectures")
    figure.suptitle(label(f"Does the ranking on {report.roles.reference} hold elsewhere?"), size=10, weight="bold")
    return figure


def _targets(report: Report) -> list[str]:
    """Targets with a gain, the smallest of the best gains first."""
    rows = _gain_rows(report)
    best = {target: max(r["gain"] for r in rows if r["target"] == target) for target in {r["target"] for r in rows}}
    return sorted(best, key=lambda target: (best[target], target))


def _gain_rows(report: Report) -> list[dict[str, Any]]:
    return report.tables["gains"].frame.filter(pl.col("kind") == "subset").drop_nulls("gain").to_dicts()


def gains(report: Report, targets: Sequence[str]) -> Figure:
    """For each of ``targets``, what each subset of the reference gains over the reference."""
    rows = [row for row in _gain_rows(report) if row["target"] in targets]
    subsets = list(dict.fromkeys(row["subset"] for row in rows))
    figure = _figure(7, 1.3 + 0.115 * len(targets) * (len(subsets) + 1))
    axis = figure.subplots()
    for y in range(0, len(targets), 2):
        axis.axhspan(y - 0.5, y + 0.5, color=PALE, alpha=0.5, lw=0)
    for i, subset in enumerate(subsets):
        shift = 0.36 - 0.72 * (i + 0.5) / len(subsets)
        colour = SERIES[i % len(SERIES)]
        axis.plot([], [], "o-", color=colour, ms=4, lw=1.6, label=label(subset))
        for row in (row for row in rows if row["subset"] == subset):
            _interval(axis, row, "gain", targets.index(row["target"]) + shift, colour)
    axis.set(yticks=range(len(targets)), yticklabels=list(map(label, targets)), ylim=(-0.5, len(targets) - 0.5))
    _zero_line(axis)
    reference = label(report.roles.reference)
    axis.set_xlabel(f"gain in Spearman's rho with the target over {reference}; 95% paired bootstrap interval")
    axis.set_title(f"Fewer classes of {reference}: how much better do they predict a ranking?", pad=24)
    axis.legend(frameon=False, ncols=len(subsets), loc="lower left", bbox_to_anchor=(-0.01, 0.995), fontsize=8)
    return figure


def _interval(axis: "Axes", row: dict[str, Any], name: str, y: float, colour: str) -> None:
    if row[f"{name}_low"] is not None:
        axis.plot([row[f"{name}_low"], row[f"{name}_high"]], [y, y], color=colour, lw=1.6, solid_capstyle="butt")
    axis.plot(row[name], y, "o", color=colour, ms=4)


def _zero_line(axis: "Axes") -> None:
    axis.axvline(0, color=INK, lw=0.8, zorder=0)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)


def distribution(report: Report, names: Sequence[str]) -> Figure:
    """Distribution function of each of the datasets ``names``, with exact bands."""
    frame = report.tables["distribution"].frame
    figure, axes = _small_plots(len(names))
    for name, axis in zip(names, axes, strict=False):
        part = frame.filter(pl.col("dataset") == name)
        axis.fill_between(
            part["at"], part["share_low"], part["share_high"], step="post", color=ACCENT, alpha=0.25, lw=0
        )
        axis.step(part["at"], part["share"], where="post", color=ACCENT, lw=1.2)
        axis.set_title(label(name), size=8)
        axis.set_xlabel(label(report.data.scale(name)), size=7)
    figure.supylabel("share of architectures at or below", size=8)
    return figure


def attributes(report: Report, names: Sequence[str]) -> Figure:
    """Spearman of the values on the datasets ``names`` with every column of the architectures, as a coloured grid."""
    frame = report.tables["attributes"].frame
    columns = frame["column"].unique(maintain_order=True).to_list()
    figure = _figure(1.6 + 0.55 * len(columns), 1.2 + 0.24 * len(names))
    axis = figure.subplots()
    cells = {(r["dataset"], r["column"]): r.get("spearman") for r in frame.iter_rows(named=True)}
    grid = np.array([[cells[name, column] for column in columns] for name in names], float)
    _grid(axis, grid, names, [column.replace("_", " ") for column in columns])
    figure.suptitle(f"Spearman of {report.data.quantity} with", size=8)
    return figure


def _grid(axis: "Axes", values: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Correlations as coloured cells with their numbers."""
    image = axis.imshow(values, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    if values.size > NUMBERED:
        axis.figure.colorbar(image, shrink=0.5, label="Spearman's rho")
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value) and values.size <= NUMBERED:
            colour = "white" if abs(value) > 0.6 else INK
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", size=6, color=colour)
    axis.set(yticks=range(len(rows)), yticklabels=list(map(label, rows)), xticks=range(len(columns)))
    axis.set_xticklabels(list(map(label, columns)), rotation=40, ha="right", rotation_mode="anchor")
