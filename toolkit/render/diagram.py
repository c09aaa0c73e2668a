"""The critical-difference diagram (Demsar 2006, J. Mach. Learn. Res. 7:1): who is best over many datasets?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from toolkit.analysis.finding import shortened
from toolkit.render.escape import figure as label
from toolkit.render.sheets import ACCENT, GREY, INK, canvas
from toolkit.render.standing import SHOWN, Standing
from toolkit.stats.resampling import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTERS = 26
"""Of a net's name."""
SIDE, WIDTH, LINE, BAR = 1.9, 7.2, 0.17, 0.08
"""Inches: of the names on either side, of the sheet, from name to name, from bar to bar."""


def critical_difference(found: Standing) -> Figure:
    """Mean ranks over all datasets on one scale, best on the left; nets that a bar joins are not critically apart."""
    rows, about, bars = found
    ranks, apart = rows["mean_rank"].to_numpy(), about["critical_difference"]
    deep = BAR * (1 + max((level for *_, level in bars), default=0)) + 0.2
    figure, axis = canvas(WIDTH, 1.55 + deep + LINE * -(-len(ranks) // 2))
    top = figure.get_figheight() - 1.05
    low, high = _ends(ranks)
    x = SIDE + (ranks - low) / (high - low) * (WIDTH - 2 * SIDE)
    _scale(axis, top, low, high, apart)
    for first, last, level in bars:
        y = top - 0.12 - BAR * level
        axis.plot([x[first] - 0.03, x[last] + 0.03], [y, y], color=ACCENT, lw=3, solid_capstyle="butt")
    _names(axis, x, top, deep, rows["architecture"].to_list())
    _words(axis, figure, about)
    return figure


def _ends(ranks: Floats) -> tuple[float, float]:
    low, high = np.floor(ranks.min()), np.ceil(ranks.max())
    return float(low), float(max(high, low + 1))


def _scale(axis: "Axes", top: float, low: float, high: float, apart: float) -> None:
    """The scale of ranks, its ticks, and the critical difference above it as long as it is there."""
    length = WIDTH - 2 * SIDE
    axis.plot([SIDE, SIDE + length], [top, top], color=INK, lw=0.8)
    step = max(1, round((high - low) / 8))
    for rank in np.arange(low, high + 0.5, step):
        x = SIDE + (rank - low) / (high - low) * length
        axis.plot([x, x], [top, top + 0.06], color=INK, lw=0.8)
        axis.text(x, top + 0.09, f"{rank:g}", size=7, color=INK, ha="center", va="bottom")
    seen = min(apart / (high - low) * length, length)
    y, over = top + 0.34, " (more than all of the scale)" if apart > high - low else ""
    axis.plot([SIDE, SIDE + seen], [y, y], color=ACCENT, lw=1.6, marker="|", ms=5)
    axis.text(SIDE, y + 0.05, f"critical difference {apart:.2f}{over}", size=7, color=ACCENT, va="bottom")


def _names(axis: "Axes", x: Floats, top: float, deep: float, names: Sequence[str]) -> None:
    """The better half on the left, the best on top; the others on the right, the last on top: no lines cross."""
    half = -(-len(names) // 2)
    for i, name in enumerate(names):
        left = i < half
        y = top - deep - LINE * (i if left else len(names) - 1 - i)
        edge = SIDE - 0.08 if left else WIDTH - SIDE + 0.08
        axis.plot([x[i], x[i], edge], [top, y, y], color=GREY, lw=0.6, zorder=0)
        place = edge - 0.04 if left else edge + 0.04
        axis.text(
            place, y, label(shortened(name, LETTERS)), size=7, color=INK, ha="right" if left else "left", va="center"
        )


def _words(axis: "Axes", figure: Figure, about: dict[str, float]) -> None:
    nets, k = about["nets"], about["datasets"]
    some = f"; the best and the worst {SHOWN // 2} of {nets} nets" if nets > SHOWN else ""
    title = f"Who is best over all {k} datasets? Mean ranks{some}"
    axis.text(0.14, figure.get_figheight() - 0.12, title, size=10, weight="bold", color=INK, va="top")
    p = "p < 0.001" if about["p"] < 0.001 else f"p = {about['p']:.3f}"
    words = (
        f"Nets that a bar joins are not critically apart (Nemenyi, all pairs of {nets} nets together, 95%).\n"
        f"Kendall's W {about['kendall_w']:.2f}; orders by lot: {p} (Friedman)."
    )
    axis.text(0.14, 0.1, words, size=7, color=INK, va="bottom")
