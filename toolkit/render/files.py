"""A report's files: the page, tables, figures, the JSON document."""

from pathlib import Path

import orjson
import polars as pl

from toolkit.analysis.document import Report
from toolkit.errors import ToolkitError
from toolkit.files import write_atomic
from toolkit.render.export import PRINTED, spreadsheet, write_tables
from toolkit.render.figures import figures
from toolkit.render.page import page
from toolkit.render.sheets import save


def write_report(report: Report, folder: Path) -> list[str]:
    """Write everything under ``folder``; returns a line for each kind of file. Raises `ToolkitError`."""
    try:
        return _write(report, folder)
    except OSError as error:
        raise ToolkitError(f"{folder} cannot be written ({error.strerror}); name another --out") from error


def _write(report: Report, folder: Path) -> list[str]:
    """The page comes first: it needs no drawing, and is what a reader opens while the rest is written."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "index.html", page(report).encode())
    (folder / "tables").mkdir(exist_ok=True)
    (folder / "figures").mkdir(exist_ok=True)
    write_tables(list(report.tables.values()), folder / "tables")
    write_atomic(folder / "runs.csv", spreadsheet(_runs(report)).write_csv().encode())
    write_atomic(folder / "report.json", orjson.dumps(report.document(), option=orjson.OPT_INDENT_2) + b"\n")
    drawn = {name: save(figure, folder / "figures", name) for name, figure in figures(report)}
    return [
        f"page:    {folder / 'index.html'}",
        *(f"figure:  {path}" for paths in drawn.values() for path in paths),
        f"tables:  {folder / 'tables'}/ ({len(report.tables)} tables as CSV and Parquet, {_printed(report)})",
        f"runs:    {folder / 'runs.csv'} (every run; toolkit.report reads it)",
        f"json:    {folder / 'report.json'}",
    ]


def _printed(report: Report) -> str:
    """How many of the tables are short enough to print."""
    long = sum(len(item.frame) > PRINTED for item in report.tables.values())
    shown = f"all but {long} of over {PRINTED:,} rows" if long else "all"
    return f"{shown} as Markdown and LaTeX"


def _runs(report: Report) -> pl.DataFrame:
    """Every run as the report read it, under headings that the report reads again."""
    return report.data.frame.rename({"value": report.data.quantity})
