"""Figures as PNG and SVG. The same data gives the same bytes: no dates, no random ids."""

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.analysis.measurements import Measurements
from toolkit.files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, ACCENT, GREY = "#1f2933", "#0b6e99", "#9aa5b1"
BLUE, RED = (0.04, 0.43, 0.60), (0.76, 0.22, 0.17)
FORMATS = ("png", "svg")
DPI = 200


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of ``width`` x ``height`` inches in the report's style."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(
        {
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
    )
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: "Figure", folder: Path, name: str) -> list[Path]:
    """Write ``figure`` in all `FORMATS` and return the files."""
    paths = [folder / f"{name}.{suffix}" for suffix in FORMATS]
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        with atomic(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=DPI, metadata=metadata)
    return paths


def scatter_matrix(data: Measurements, pairs: pl.DataFrame) -> "Figure":
    """Every dataset against every other, one point an architecture; Spearman's rho above the diagonal."""
    names = data.datasets
    k = len(names)
    side = max(1.0, min(2.2, 13 / k))
    figure = new_figure(side * k, side * k)
    axes = figure.subplots(k, k, squeeze=False)
    rho = {(row["a"], row["b"]): row["spearman"] for row in pairs.iter_rows(named=True)}
    for row, column in product(range(k), range(k)):
        axis: Axes = axes[row, column]
        if row > column:
            axis.scatter(data.column(names[column]), data.column(names[row]), s=30 / k, c=ACCENT, alpha=0.5, lw=0)
            axis.tick_params(labelsize=5, length=2)
            axis.tick_params(labelbottom=row == k - 1, labelleft=column == 0)
        elif row == column:
            _write(axis, names[row], weight="bold", size=min(9, 90 * side / 8 / max(len(names[row]), 5)))
        else:
            _write_rho(axis, rho[names[row], names[column]])
    figure.supxlabel(f"{data.quantity} ({data.unit}); above the diagonal: Spearman's rho", size=8, color=INK)
    return figure


def _write(axis: "Axes", text: str, **style: Any) -> None:
    axis.text(0.5, 0.5, text, ha="center", va="center", transform=axis.transAxes, **style)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)


def _write_rho(axis: "Axes", rho: float | None) -> None:
    """The number on a ground of its own colour: blue for agreement, red for reversal."""
    if rho is None:
        _write(axis, "n/a", size=8, color=GREY)
        return
    axis.set_facecolor((*(BLUE if rho > 0 else RED), abs(rho) * 0.85))
    _write(axis, f"{rho:.2f}", size=8, color="white" if abs(rho) > 0.6 else INK)
