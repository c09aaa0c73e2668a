"""Sheets of paper that figures are drawn on: one style, files that are the same twice, small plots, labels, titles."""

import textwrap
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from toolkit.files import atomic
from toolkit.render.escape import figure as label
from toolkit.stats.resampling import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, ACCENT, GREY, PALE = "#1f2933", "#0b6e99", "#7b8794", "#e4e7eb"
FORMATS = ("png", "svg")
DPI = 200
STYLE = {
    "svg.hashsalt": "toolkit",
    "svg.fonttype": "none",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
TITLE, LETTERS = 10, 11
"""Points of a title's letters, which are bold, and how many of them an inch takes at least."""
VECTOR_POINTS = 20_000
"""Points up to which a sheet of small plots stays vectors in the SVG."""


def sheet(width: float, height: float) -> Figure:
    """An empty figure of so many inches, laid out by matplotlib when it is saved."""
    return Figure(figsize=(width, height), layout="constrained")


def title(figure: Figure, text: str) -> None:
    """``text`` above all that is drawn, in as many lines as the sheet's width asks for."""
    lines = textwrap.wrap(label(text), int(figure.get_figwidth() * LETTERS))
    figure.suptitle("\n".join(lines), x=0.02, ha="left", size=TITLE, weight="bold", color=INK)


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``figure`` in all `FORMATS` and return the files."""
    paths = [folder / f"{name}.{suffix}" for suffix in FORMATS]
    lay_out(figure)  # once, not anew in each format
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        with atomic(path) as temporary, matplotlib.rc_context(STYLE):
            figure.savefig(temporary, format=path.suffix[1:], dpi=DPI, metadata=metadata)
    return paths


def lay_out(figure: Figure) -> None:
    """Give everything in ``figure`` its place, once; what is added later moves nothing."""
    if figure.get_layout_engine() is not None:
        with matplotlib.rc_context(STYLE):
            figure.draw_without_rendering()
            figure.set_layout_engine("none")


def name_points(figure: Figure, axis: "Axes", places: Floats, names: Sequence[str]) -> None:
    """Write each of ``names`` near its place (n, 2) where it covers no other name and no point, with a line to it.

    Tried are places around the point, further and further out; a name that fits nowhere is written at the first.
    """
    lay_out(figure)
    points = axis.transData.transform(places)
    taken = [Bbox.from_extents(*(point - 3), *(point + 3)) for point in points]
    inside = axis.bbox
    around = [(r * x, r * y) for r in (7, 16, 28, 42) for x, y in _DIRECTIONS]
    for place, name in zip(places, names, strict=True):
        text = axis.annotate(
            label(name), tuple(place), xytext=around[0], textcoords="offset points", size=6, color=INK, va="center"
        )
        for x, y in around:
            text.set(position=(x, y), ha="left" if x > 1 else "right" if x < -1 else "center")
            box = text.get_window_extent()
            if inside.x0 <= box.x0 and box.x1 <= inside.x1 and box.y1 <= inside.y1 and not box.count_overlaps(taken):
                break
        else:
            x, y = around[0]
            text.set(position=(x, y), ha="left")
        taken.append(text.get_window_extent())
        axis.annotate(
            "",
            tuple(place),
            xytext=(x, y),
            textcoords="offset points",
            arrowprops={"arrowstyle": "-", "lw": 0.4, "color": GREY},
        )


_DIRECTIONS = ((1, 0), (1, 0.7), (1, -0.7), (-1, 0), (-1, 0.7), (-1, -0.7), (0, 1), (0, -1))


class Plot(NamedTuple):
    """A small plot's place on a sheet: where values lie, in inches."""

    left: float
    bottom: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, values: Any) -> Floats:
        """Inches from the sheet's left of ``values`` (any shape)."""
        return self.left + self.width * _share(values, self.x_range)

    def y(self, values: Any) -> Floats:
        """Inches from the sheet's bottom."""
        return self.bottom + self.height * _share(values, self.y_range)


def _share(values: Any, ends: tuple[float, float]) -> Floats:
    """Where ``values`` lie between ``ends``, a little away from both."""
    low, high = ends
    return 0.04 + 0.92 * (np.asarray(values, float) - low) / (high - low if high > low else 1)


def ends(values: Floats) -> tuple[float, float]:
    """The least and the largest of ``values`` that are known; 0 and 1 where none is."""
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)


def canvas(width: float, height: float) -> "tuple[Figure, Axes]":
    """A figure, and an axes all over it whose coordinates are inches and that shows no ticks."""
    figure = Figure(figsize=(width, height))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(0, height), autoscale_on=False)
    axis.set_axis_off()
    return figure, axis


class SmallPlots:
    """Rows of small plots on one axes: matplotlib's own ticks and layout of each cost more than all that is in them.

    Under a plot and beside it stand the least and the largest value, as ticks do.
    """

    across, up, gap = 2.1, 1.75, 0.45
    """Inches from plot to plot, and how many of them are left free."""
    left, below = 0.55, 0.5
    """Inches for what all plots have on their scales."""

    def __init__(self, count: int) -> None:
        self.columns = min(4, count)
        self.rows = -(-count // self.columns)
        self.figure, self.axis = canvas(self.left + self.across * self.columns, self.below + self.up * self.rows)
        self.width, self.height = self.across - self.gap, self.up - self.gap - 0.05

    def add(self, number: int, heading: str, x_range: tuple[float, float], y_range: tuple[float, float]) -> Plot:
        """The plot ``number``, from 0, with frame, heading and the ends of its scales."""
        row, column = divmod(number, self.columns)
        bottom = self.below + self.up * (self.rows - 1 - row) + 0.1
        plot = Plot(self.left + self.across * column, bottom, self.width, self.height, x_range, y_range)
        frame(self.axis, plot)
        scale(self.axis, plot, across=True, up=True)
        self.axis.text(plot.left, bottom + self.height + 0.05, label(heading), size=7, color=INK, va="bottom")
        return plot

    def caption(self, across: str, up: str) -> None:
        """What all plots have on their two scales."""
        middle_x, middle_y = self.figure.get_figwidth() / 2, self.figure.get_figheight() / 2
        self.axis.text(middle_x, 0.12, label(across), size=8, color=INK, ha="center", va="bottom")
        self.axis.text(0.1, middle_y, label(up), size=8, color=INK, rotation=90, ha="left", va="center")


def frame(axis: "Axes", plot: Plot) -> None:
    """A line to the left of ``plot`` and one below it."""
    left, bottom = plot.left, plot.bottom
    axis.plot([left, left, left + plot.width], [bottom + plot.height, bottom, bottom], color=GREY, lw=0.8)


def scale(axis: "Axes", plot: Plot, across: bool, up: bool) -> None:
    """The least and the largest value, below ``plot`` and to its left."""
    style: dict[str, Any] = {"size": 5, "color": INK}
    for (place, side), value in zip(product((0, 1), ("across", "up")), _pairwise(plot), strict=True):
        if side == "across" and across:
            x = plot.left + place * plot.width
            axis.text(x, plot.bottom - 0.04, value, ha="right" if place else "left", va="top", **style)
        if side == "up" and up:
            y = plot.bottom + place * plot.height
            axis.text(plot.left - 0.04, y, value, ha="right", va="top" if place else "bottom", **style)


def _pairwise(plot: Plot) -> list[str]:
    return [f"{ends[place]:.3g}" for place in (0, 1) for ends in (plot.x_range, plot.y_range)]
