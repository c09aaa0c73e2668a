"""A report's files: tables, figures, the JSON document."""

from pathlib import Path

import orjson

from toolkit.analysis.document import Report
from toolkit.errors import ToolkitError
from toolkit.files import write_atomic
from toolkit.render.export import write_tables
from toolkit.render.figures import save, scatter_matrix


def write_report(report: Report, folder: Path) -> list[str]:
    """Write everything under ``folder``; returns one line for each kind of file. Raises `ToolkitError`."""
    try:
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        (folder / "figures").mkdir(exist_ok=True)
        write_tables(list(report.tables.values()), folder / "tables")
        document = orjson.dumps(report.document(), option=orjson.OPT_INDENT_2)
        write_atomic(folder / "report.json", document + b"\n")
        figures = []
        if len(report.data.datasets) > 1:
            figures += save(scatter_matrix(report.data, report.tables["pairs"].frame), folder / "figures", "scatter")
    except OSError as error:
        raise ToolkitError(f"{folder} cannot be written ({error.strerror}); name another --out") from error
    return [
        f"tables:  {folder / 'tables'}/ ({len(report.tables)} tables, CSV and Parquet)",
        *(f"figure:  {path}" for path in figures),
        f"json:    {folder / 'report.json'}",
    ]
