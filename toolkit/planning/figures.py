"""The pictures of planning: what a replay saved, width against hours, cost against correlation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from toolkit.render.escape import figure as label
from toolkit.render.figures import SERIES
from toolkit.render.sheets import ACCENT, GREY, INK, STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def replay_figure(targets: pl.DataFrame, goals: pl.DataFrame, every: int) -> "Figure":
    """Nets by target; and for each goal how many times fewer trainings against the share of verdicts that differ."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        rows = targets.sort("nets", descending=True)
        colours = [ACCENT if verdict != "open" else GREY for verdict in rows["full_verdict"]]
        left.barh(range(len(rows)), rows["nets"], color=colours, height=0.7)
        labels = [f"{label(row['target'])} ({row['rho']:.2f})" for row in rows.iter_rows(named=True)]
        left.set(yticks=range(len(rows)), yticklabels=labels, xlim=(0, every), xlabel=f"nets trained, of {every}")
        left.set_title("Nets until settled, by target (rho)\ngrey: open in the full study too", size=8)
        right.set_title("The price of stopping earlier\nfigures: chance of giving up, or width", size=8)
        for kind, colour in (("verdict", ACCENT), ("width", SERIES[1])):
            part = goals.filter(pl.col("goal").str.starts_with(kind)).sort("fewer")
            differing = 100 * (1 - part["same"])
            right.plot(part["fewer"], differing, "o-", color=colour, ms=4, lw=1.2, label=f"until {kind}: differing")
            wrong = 100 * (part["false"] + part["overstated"])
            right.plot(part["fewer"], wrong, "x:", color=colour, ms=4, lw=1, label=f"{kind}: false or overstated")
            for row, y in zip(part.iter_rows(named=True), differing, strict=True):
                place = (row["fewer"], y)
                right.annotate(row["goal"].split("=")[1], place, xytext=(4, -8), textcoords="offset points", size=6)
        right.axhline(5, color=INK, lw=0.6, ls="--")
        right.set(xlabel="times fewer net-trainings on the targets", ylabel="verdicts, %", ylim=(-1, None))
        right.legend(frameon=False, fontsize=7)
    return figure


def width_figure(curves: pl.DataFrame, basis: str) -> "Figure":
    """Width of a target's interval against hours, a line a dataset; ``curves`` has target, hours and width."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.5, 4), layout="constrained")
        axis = figure.subplots()
        names: Sequence[str] = curves["target"].unique(maintain_order=True).to_list()
        for i, name in enumerate(names):
            part = curves.filter(pl.col("target") == name)
            style = ("-", "--", ":")[i // len(SERIES) % 3]
            axis.plot(part["hours"], part["width"], style, color=SERIES[i % len(SERIES)], lw=1.3, label=label(name))
        axis.set(xscale="log", yscale="log", xlabel="hours on the target", ylabel="width of the 95% interval")
        axis.set_title(f"What an interval costs\n{basis.split(',')[0]}", size=8)
        axis.legend(frameon=False, fontsize=6, ncols=2)
    return figure


def frontier_figure(rows: pl.DataFrame) -> "Figure":
    """Cost against correlation, one panel a target, with intervals; the frontier is drawn through."""
    names: Sequence[str] = rows["target"].unique(maintain_order=True).to_list()
    columns = min(4, len(names))
    height = -(-len(names) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.3 * columns, 1.9 * height + 0.3), layout="constrained")
        axes = figure.subplots(height, columns, squeeze=False, sharex=True)
        for name, axis in zip(names, axes.flat, strict=False):
            part = rows.filter(pl.col("target") == name).sort("hours")
            ends = np.array([part["rho"] - part["rho_low"], part["rho_high"] - part["rho"]])
            axis.errorbar(part["hours"], part["rho"], ends, fmt="o", ms=3, lw=1, color=GREY)
            best = part.filter(pl.col("frontier"))
            axis.plot(best["hours"], best["rho"], "o-", ms=4, lw=1.2, color=ACCENT)
            for row in part.iter_rows(named=True):
                place = (row["hours"], row["rho"])
                axis.annotate(label(row["proxy"]), place, xytext=(3, 3), textcoords="offset points", size=5, color=INK)
            axis.set_xscale("log")
            axis.set_title(label(name), size=8)
        for axis in axes.flat[len(names) :]:
            axis.set_axis_off()
        figure.supxlabel("hours to train the proxy on all nets", size=8)
        figure.supylabel("Spearman with the target", size=8)
    return figure
