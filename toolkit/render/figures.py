"""Figures as PNG and SVG. The same data gives the same bytes: no dates, no random ids.

No figure grows without bound: what has more rows or panels than a sheet of paper takes goes on in further files
(`correlations`, `correlations-2`, ...), and after `SHEETS` of them in the page alone, which draws what is looked at.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from toolkit.analysis.document import Report
from toolkit.analysis.finding import shortened
from toolkit.analysis.table import with_interval
from toolkit.render.diagram import critical_difference
from toolkit.render.escape import figure as label
from toolkit.render.sheets import (
    ACCENT,
    GREY,
    INK,
    PALE,
    STYLE,
    VECTOR_POINTS,
    Plot,
    SmallPlots,
    canvas,
    ends,
    frame,
    name_points,
    scale,
    sheet,
    title,
)
from toolkit.render.standing import standing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, RED = (0.04, 0.43, 0.60), (0.76, 0.22, 0.17)
SERIES = ("#0b6e99", "#d9822b", "#3f8f5f", "#8e4a9e", "#c0392b", "#5c6b7a")
MATRIX, GRID = 13, 60
"""Datasets up to which a figure sets each against each: as points, and as a number in a grid."""
SHEETS = 3
"""Files that one figure goes on in."""
NUMBERED = 700
"""Cells of a grid up to which each has its number written in it."""
ROWS, PANELS, GAIN_TARGETS = 60, 24, 12
"""Rows, small plots and targets of one sheet."""
LABELLED, LETTERS = 30, 34
"""Points up to which each is named in the scatter plot of a pair, and letters that a name has there."""


def figures(report: Report) -> Iterator[tuple[str, Figure]]:
    """Every figure that ``report`` has data for, with its name; one at a time, for a sheet takes megabytes."""
    with matplotlib.rc_context(STYLE):
        if "pairs" in report.tables:
            yield from _overview(report)
            yield from _sheets("correlations", with_reference(report), ROWS, lambda rows: forest(report, rows))
        if "gains" in report.tables:
            yield from _sheets("gains", _targets(report), GAIN_TARGETS, lambda targets: gains(report, targets))
        if "distribution" in report.tables:  # none where no net has a value
            names = report.tables["distribution"].frame["dataset"].unique(maintain_order=True).to_list()
            yield from _sheets("distribution", names, PANELS, lambda part: distribution(report, part))
        if "attributes" in report.tables:
            yield from _sheets("attributes", report.data.datasets, ROWS, lambda part: attributes(report, part))
        if found := standing(report):
            yield "critical-difference", critical_difference(found)


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


def scatter_pair(report: Report) -> Figure:
    """Two datasets, one point an architecture, each named while they are few; rho and its interval above."""
    data, (x_name, y_name) = report.data, report.data.datasets
    places = np.stack([data.column(x_name), data.column(y_name)], axis=1)
    known = np.flatnonzero(np.isfinite(places).all(axis=1))
    figure = sheet(5.5, 4.5)
    axis = figure.subplots()
    axis.scatter(places[:, 0], places[:, 1], s=28, c=ACCENT, alpha=0.7, lw=0, zorder=2)
    axis.margins(x=0.12, y=0.08)
    unit = f" ({data.unit})" if data.unit else ""
    axis.set(xlabel=label(f"{data.quantity} on {x_name}{unit}"), ylabel=label(f"{data.quantity} on {y_name}{unit}"))
    title(figure, _rho_in_words(report.tables["pairs"].frame.row(0, named=True)))
    if len(known) <= LABELLED:
        name_points(figure, axis, places[known], [shortened(data.architectures[i], LETTERS) for i in known])
    return figure


def _rho_in_words(pair: dict[str, Any]) -> str:
    if pair["spearman"] is None:
        return f"Spearman's rho: not defined, n = {pair['n']}"
    rho, low, high = pair["spearman"], pair["spearman_low"], pair["spearman_high"]
    return f"Spearman's rho {f'{rho:.2f}' if low is None else with_interval(rho, low, high, 2)}, n = {pair['n']}"


def scatter_matrix(report: Report) -> Figure:
    """Every dataset against every other, one point an architecture; Spearman's rho above the diagonal."""
    data, names = report.data, report.data.datasets
    k = len(names)
    side = max(1.0, min(2.4, 13 / k))
    figure, axis = canvas(side * k + 0.4, side * k + 0.4)
    rasterized = k * k * len(data.architectures) > VECTOR_POINTS
    rho = {(row["a"], row["b"]): row["spearman"] for row in report.tables["pairs"].frame.iter_rows(named=True)}
    grounds, size = [], max(36 / k, min(16, 200 / len(data.architectures)))
    for row, column in product(range(k), range(k)):
        x, y = data.column(names[column]), data.column(names[row])
        plot = Plot(0.4 + side * column, 0.4 + side * (k - 1 - row), side - 0.12, side - 0.12, ends(x), ends(y))
        if row > column:
            frame(axis, plot)
            scale(axis, plot, across=row == k - 1, up=column == 0)
            axis.scatter(plot.x(x), plot.y(y), s=size, c=ACCENT, alpha=0.45, lw=0, rasterized=rasterized)
        elif row == column:
            _write(axis, plot, names[row], weight="bold", size=min(10, 95 * side / len(names[row])))
        else:
            grounds.append(_write_rho(axis, plot, rho[names[row], names[column]]))
    axis.add_collection(PatchCollection(grounds, match_original=True), autolim=False)
    unit = f" ({data.unit})" if data.unit else ""
    caption = f"{data.quantity}{unit}; above the diagonal: Spearman's rho"
    axis.text(0.4 + side * k / 2, 0.06, caption, size=8, color=INK, ha="center", va="bottom")
    return figure


def _write(axis: "Axes", plot: Plot, text: str, **style: Any) -> None:
    x, y = plot.left + plot.width / 2, plot.bottom + plot.height / 2
    axis.text(x, y, label(text), ha="center", va="center", **style)


def _write_rho(axis: "Axes", plot: Plot, rho: float | None) -> Rectangle:
    """The number; returns the ground to lay under it: blue for agreement, red for reversal, white for none."""
    ground = (1, 1, 1) if rho is None else (*(BLUE if rho > 0 else RED), abs(rho) * 0.85)
    if rho is None:
        _write(axis, plot, "n/a", size=8, color=GREY)
    else:
        _write(axis, plot, f"{rho:.2f}", size=9, color="white" if abs(rho) > 0.6 else INK)
    return Rectangle((plot.left, plot.bottom), plot.width, plot.height, color=ground, lw=0)


def scatter_reference(report: Report, others: Sequence[str]) -> Figure:
    """The reference against each of ``others``, one point an architecture; Spearman's rho above."""
    data, reference = report.data, report.roles.reference
    rho = {row["other"]: row["spearman"] for row in with_reference(report)}
    x = data.column(reference)
    plots = SmallPlots(len(others))
    rasterized = len(others) * len(x) > VECTOR_POINTS
    for number, name in enumerate(others):
        y = data.column(name)
        told = "n/a" if rho[name] is None else f"{rho[name]:.2f}"
        plot = plots.add(number, f"{shortened(name, LETTERS)}: {told}", ends(x), ends(y))
        plots.axis.scatter(plot.x(x), plot.y(y), s=6, c=ACCENT, alpha=0.5, lw=0, rasterized=rasterized)
    unit = f" ({data.unit})" if data.unit else ""
    plots.caption(f"{data.quantity} on {reference}{unit}", f"{data.quantity}{unit}; above: Spearman's rho")
    return plots.figure


def matrix(report: Report) -> Figure:
    """Spearman between all datasets as a coloured grid, blue for agreement, red for reversal."""
    names = report.data.datasets
    rho = {(row["a"], row["b"]): row["spearman"] for row in report.tables["pairs"].frame.iter_rows(named=True)}
    rho |= {(b, a): value for (a, b), value in rho.items()} | {(name, name): 1.0 for name in names}
    figure = sheet(2 + 0.22 * len(names), 2 + 0.2 * len(names))
    axis = figure.subplots()
    _grid(axis, np.array([[rho[a, b] for b in names] for a in names], float), names, names)
    title(figure, "Spearman's rho between all datasets")
    return figure


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
    figure = sheet(5.5, 0.9 + 0.26 * len(rows))
    axis = figure.subplots()
    colours = [ACCENT if row["other"] in report.roles.targets else GREY for row in rows]
    _intervals(axis, rows, "spearman", range(len(rows)), colours)
    axis.set(yticks=range(len(rows)), yticklabels=[label(row["other"]) for row in rows], xlim=(-1.02, 1.02))
    _zero_line(axis)
    axis.set_xlabel("Spearman's rho, 95% interval over architectures")
    title(figure, f"Does the ranking on {report.roles.reference} hold elsewhere?")
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
    figure = sheet(7, 1.3 + 0.115 * len(targets) * (len(subsets) + 1))
    axis = figure.subplots()
    for y in range(0, len(targets), 2):
        axis.axhspan(y - 0.5, y + 0.5, color=PALE, alpha=0.5, lw=0)
    for i, subset in enumerate(subsets):
        shift = 0.36 - 0.72 * (i + 0.5) / len(subsets)
        colour = SERIES[i % len(SERIES)]
        axis.plot([], [], "o-", color=colour, ms=4, lw=1.6, label=label(subset))
        of_subset = [row for row in rows if row["subset"] == subset]
        heights = [targets.index(row["target"]) + shift for row in of_subset]
        _intervals(axis, of_subset, "gain", heights, [colour] * len(of_subset))
    axis.set(yticks=range(len(targets)), yticklabels=list(map(label, targets)), ylim=(-0.5, len(targets) - 0.5))
    _zero_line(axis)
    reference = label(report.roles.reference)
    axis.set_xlabel(f"gain in Spearman's rho with the target over {reference}; 95% paired bootstrap interval")
    title(figure, f"Fewer classes of {report.roles.reference}: how much better do they predict a ranking?")
    axis.legend(frameon=False, ncols=len(subsets), loc="lower left", bbox_to_anchor=(-0.01, 0.995), fontsize=8)
    return figure


def _intervals(
    axis: "Axes", rows: Sequence[dict[str, Any]], name: str, heights: Sequence[float], colours: Sequence[str]
) -> None:
    """A point for each of ``rows``, and a line where it has an interval; all at once, for each artist costs."""
    low, high = (np.array([row[f"{name}_{end}"] for row in rows], float) for end in ("low", "high"))
    axis.hlines(heights, low, high, colors=colours, lw=1.6)
    axis.scatter([row[name] for row in rows], heights, s=16, c=colours, lw=0, zorder=2)


def _zero_line(axis: "Axes") -> None:
    axis.axvline(0, color=INK, lw=0.8, zorder=0)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)


def distribution(report: Report, names: Sequence[str]) -> Figure:
    """Distribution function of each of the datasets ``names``, with exact bands."""
    frame = report.tables["distribution"].frame
    plots = SmallPlots(len(names))
    scales = {name: report.data.scale(name) for name in names}
    alike = len(set(scales.values())) == 1
    for number, name in enumerate(names):
        part = frame.filter(pl.col("dataset") == name)
        heading = shortened(name, LETTERS) + ("" if alike else f": {scales[name]}")
        plot = plots.add(number, heading, ends(part["at"].to_numpy()), (0, 1))
        at, low, high = (
            plot.x(part["at"]),
            plot.y(part["share_low"].cast(pl.Float64)),
            plot.y(part["share_high"].cast(pl.Float64)),
        )
        plots.axis.fill_between(at, low, high, step="post", color=ACCENT, alpha=0.25, lw=0)
        plots.axis.step(at, plot.y(part["share"]), where="post", color=ACCENT, lw=1.2)
    plots.caption(scales[names[0]] if alike else report.data.quantity, "share of architectures at or below")
    return plots.figure


def attributes(report: Report, names: Sequence[str]) -> Figure:
    """Spearman of the values on the datasets ``names`` with every column of the architectures, as a coloured grid."""
    frame = report.tables["attributes"].frame
    columns = frame["column"].unique(maintain_order=True).to_list()
    figure = sheet(1.6 + 0.55 * len(columns), 1.2 + 0.24 * len(names))
    axis = figure.subplots()
    cells = {(r["dataset"], r["column"]): r.get("spearman") for r in frame.iter_rows(named=True)}
    grid = np.array([[cells[name, column] for column in columns] for name in names], float)
    _grid(axis, grid, names, [column.replace("_", " ") for column in columns])
    title(figure, f"Spearman of {report.data.quantity} with")
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
