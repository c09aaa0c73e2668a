"""The page: one HTML file with everything in it. Opens from a disk, offline, and asks nobody for anything."""

from importlib import resources

import jinja2
import numpy as np
from markupsafe import Markup

from toolkit.analysis.document import Report
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.table import Table
from toolkit.render import escape
from toolkit.render.cells import cells, heading, numeric_columns

SIZE, MARGIN = 420, 46
"""Side of a scatter plot and room for its axes, in SVG units."""
ROWS_SHOWN = 500
"""Rows of a table on the page; the files have all."""
PLOTS = 24


def page(report: Report, drawings: dict[str, str]) -> str:
    """The report as one HTML document; ``drawings`` are SVG documents by name."""
    source = resources.files("toolkit.render").joinpath("page.html.j2").read_text()
    environment = jinja2.Environment(autoescape=True, finalize=_harmless, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(
        name=report.data.name,
        finding=report.finding,
        problems=report.data.problems,
        settings=report.settings,
        plots=[_plot(report.data, report.roles.reference, other) for other in _others(report)[:PLOTS]],
        drawings={name: _inline(svg, name) for name, svg in drawings.items()},
        tables=[_table(item) for item in report.tables.values()],
    )


def _harmless(value: object) -> object:
    """What the template prints: text of strangers by `escape.html`, markup of our own as it is."""
    return escape.html(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _others(report: Report) -> list[str]:
    return [name for name in report.data.datasets if name != report.roles.reference]


def _inline(svg: str, name: str) -> Markup:
    """An SVG document as an element of the page; its ids get a prefix, for another figure has the same."""
    body = svg[svg.index("<svg") :]
    for sign in ('id="', 'href="#', "url(#"):
        body = body.replace(sign, f"{sign}{name}-")
    return Markup(body)


def _plot(data: Measurements, x_name: str, y_name: str) -> dict[str, object]:
    """Points of a scatter plot in SVG coordinates, with what a hover says, and the axes' ticks."""
    x, y = data.column(x_name), data.column(y_name)
    both = np.isfinite(x) & np.isfinite(y)
    at_x, ticks_x = _axis(x[both], flip=False)
    at_y, ticks_y = _axis(y[both], flip=True)
    names = [name for name, has in zip(data.architectures, both, strict=True) if has]
    labels = [f"{name}: {x_name} {a:.2f}, {y_name} {b:.2f}" for name, a, b in zip(names, x[both], y[both], strict=True)]
    points = [{"x": f"{a:.1f}", "y": f"{b:.1f}", "label": c} for a, b, c in zip(at_x, at_y, labels, strict=True)]
    scales = f"{x_name} ({data.scale(x_name)})", f"{y_name} ({data.scale(y_name)})"
    return {"x": scales[0], "y": scales[1], "points": points, "ticks_x": ticks_x, "ticks_y": ticks_y, "size": SIZE}


def _axis(values: np.ndarray, flip: bool) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Places of ``values`` along an axis, and three ticks (place, text)."""
    if len(values) == 0:
        return values, []
    low, high = values.min(), values.max()
    room = (high - low) or 1.0

    def place(value: np.ndarray) -> np.ndarray:
        share = (value - low) / room * 0.94 + 0.03
        return MARGIN + (1 - share if flip else share) * (SIZE - MARGIN - 10) - (MARGIN - 10 if flip else 0)

    ticks = np.array([low, (low + high) / 2, high])
    return place(values), [(f"{a:.1f}", f"{v:.3g}") for a, v in zip(place(ticks), ticks, strict=True)]


def _table(item: Table) -> dict[str, object]:
    headings, rows = cells(item.frame.head(ROWS_SHOWN))
    right = {heading(column) for column in numeric_columns(item.frame)}
    return {
        "name": item.name,
        "title": item.title,
        "note": item.note,
        "headings": [(name, name in right) for name in headings],
        "rows": rows,
        "hidden": max(0, len(item.frame) - ROWS_SHOWN),
    }
