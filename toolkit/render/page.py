"""The page: one HTML file with everything in it. Opens from a disk, offline, and asks nobody for anything.

Python writes the words, the tables and the numbers (a JSON element); `page.js` draws the figures from them in the
reader's browser with Observable Plot, whose source is embedded. So the page is there before any figure is drawn.
"""

from importlib import resources
from typing import Any

import jinja2
import polars as pl
from markupsafe import Markup

from toolkit.analysis.document import Report
from toolkit.analysis.finding import TRANSFERS
from toolkit.analysis.table import Table
from toolkit.render import escape
from toolkit.render.cells import cells, heading, numeric_columns
from toolkit.render.standing import SHOWN, standing

ROWS_SHOWN = 500
"""Rows of a table on the page; the files have all."""
DIGITS = 5
"""Significant digits of the numbers in the page's data: more than a pixel shows."""
LIBRARIES = ("d3", "plot")


def page(report: Report) -> str:
    """The report as one HTML document."""
    environment = jinja2.Environment(autoescape=True, finalize=_harmless, trim_blocks=True, lstrip_blocks=True)
    data = page_data(report)
    return environment.from_string(_file("page.html.j2")).render(
        name=report.data.name,
        finding=report.finding,
        conditions=report.data.conditions,
        problems=report.data.problems,
        settings=report.settings,
        reference=report.roles.reference,
        transfers=TRANSFERS,
        quantity=report.data.quantity,
        datasets=report.data.datasets,
        others=data["pairs"],
        has_gains=bool(data["gains"]),
        standing=data["standing"],
        shown=SHOWN,
        has_attributes=bool(data["attributes"]),
        tables=[_table(item) for item in report.tables.values()],
        data=escape.script(data),
        style=Markup(_file("page.css")),
        script=Markup(_file("page.js")),
        libraries=Markup("\n".join(_file(f"vendor/{name}.min.js") for name in LIBRARIES)),
        licences=Markup("\n".join(_file(f"vendor/{name}.LICENSE.txt") for name in LIBRARIES)),
    )


def _file(name: str) -> str:
    return resources.files("toolkit.render").joinpath(name).read_text()


def _harmless(value: object) -> object:
    """What the template prints: text of strangers by `escape.html`, markup of our own as it is."""
    return escape.html(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def page_data(report: Report) -> dict[str, Any]:
    """What the figures are drawn from: every net's value and rank on every dataset, and rows of a few tables."""
    data, reference = report.data, report.roles.reference
    net = {name: number for number, name in enumerate(data.architectures)}
    columns = ("value", "value_low", "value_high", "rank", "rank_low", "rank_high")
    ranking = report.tables["ranking"].frame if "ranking" in report.tables else pl.DataFrame()
    by_dataset = {
        name: [[net[row["architecture"]], *(_short(row[c]) for c in columns)] for row in part.iter_rows(named=True)]
        for (name,), part in (ranking.partition_by("dataset", as_dict=True) if len(ranking) else {}).items()
    }
    return {
        "reference": reference,
        "transfers": TRANSFERS,
        "quantity": data.quantity,
        "nets": data.architectures,
        "datasets": [{"name": d, "scale": data.scale(d), "rows": by_dataset.get(d, [])} for d in data.datasets],
        "pairs": _with_reference(report),
        "gains": _rows(report, "gains", ("target", "subset"), "gain", only=("kind", "subset")),
        "attributes": _rows(report, "attributes", ("dataset", "column"), "spearman", name="rho"),
        "standing": _standing(report),
        "distribution": _rows(report, "distribution", ("dataset", "at"), "share"),
    }


def _with_reference(report: Report) -> list[dict[str, Any]]:
    """Spearman of the reference with every other dataset, the largest first; those without one last."""
    if "pairs" not in report.tables:
        return []
    reference, rows = report.roles.reference, []
    for row in report.tables["pairs"].frame.iter_rows(named=True):
        if reference in (row["a"], row["b"]):
            other = row["b"] if row["a"] == reference else row["a"]
            low, high = row["spearman_low"], row["spearman_high"]
            kind = _kind(low, high) if other in report.roles.targets else "subset of the reference"
            values = {"rho": _short(row["spearman"]), "low": _short(low), "high": _short(high)}
            rows.append({"other": other, "n": row["n"], "kind": kind} | values)
    return sorted(rows, key=lambda row: (row["rho"] is None, -(row["rho"] or 0)))


def _kind(low: float | None, high: float | None) -> str:
    """The verdict's word, by the same thresholds as the finding's."""
    if low is None or high is None:
        return "open"
    return "transfers" if low > TRANSFERS else "reversed" if high < 0 else "open"


def _standing(report: Report) -> dict[str, Any] | None:
    """The critical-difference diagram: mean ranks with intervals of places, the best first, and the bars."""
    if not (found := standing(report)):
        return None
    columns = ("architecture", "mean_rank", "place_low", "place_high")
    rows = [[_short(row[c]) for c in columns] for row in found.rows.iter_rows(named=True)]
    told = {c: _short(found.about[c]) for c in ("nets", "datasets", "critical_difference", "kendall_w", "p")}
    return told | {"rows": rows, "bars": found.bars}


def _rows(
    report: Report, table: str, keys: tuple[str, ...], value: str, name: str = "", only: tuple[str, str] | None = None
) -> list[dict[str, Any]]:
    """A table's rows with ``keys``, a value and its interval."""
    if table not in report.tables:
        return []
    frame = report.tables[table].frame
    frame = frame.filter(pl.col(only[0]) == only[1]) if only else frame
    columns = {value: name or value, f"{value}_low": "low", f"{value}_high": "high"}
    return [
        {key: _short(row[key]) for key in keys} | {short: _short(row.get(c)) for c, short in columns.items()}
        for row in frame.iter_rows(named=True)
    ]


def _short(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


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
