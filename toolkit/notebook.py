"""Runs and reports in a notebook, or anywhere else in Python.

>>> from toolkit import notebook
>>> runs = notebook.runs("demo")                                # doctest: +SKIP
>>> report = notebook.report("demo", others=["imagenet@timm"])  # doctest: +SKIP
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from toolkit.analysis.document import Report
from toolkit.analysis.settings import Settings
from toolkit.errors import ToolkitError
from toolkit.render.escape import html
from toolkit.render.figures import figures
from toolkit.reporting import ReportRequest, make_report
from toolkit.study.scan import scan
from toolkit.study.study import Study

if TYPE_CHECKING:
    import polars
    from matplotlib.figure import Figure


def runs(study: str) -> "polars.DataFrame":
    """Every result of a study (a name under runs/, or a folder): one row a run, the columns of `toolkit.study.scan`.

    Errors are shares (0..1), times seconds, flops multiply-adds. Raises `UsageError` when there is no such study, and
    `ToolkitError` that names a file among the results that is none.
    """
    found = scan(Study.open(study))
    if found.problems:
        raise ToolkitError(f"{len(found.problems)} files are no results: {found.problems[0]}")
    return found.frame


def report(
    *sources: str, others: Sequence[str] = (), resamples: int | None = None, **settings: Any
) -> "NotebookReport":
    """What ``python -m toolkit.report SOURCES --with OTHERS`` says; ``settings`` are the fields of `Settings`.

    Raises `UsageError` as the command does.
    """
    request = ReportRequest(sources, tuple(others), settings=Settings(**settings), resamples=resamples, complete=True)
    return NotebookReport(make_report(request)[0])


@dataclass(frozen=True)
class NotebookReport:
    """A report that a notebook shows: its finding, and behind it tables and figures by name."""

    whole: Report

    @property
    def finding(self) -> list[str]:
        """What it comes to, one sentence an item."""
        return self.whole.finding

    @property
    def tables(self) -> "dict[str, polars.DataFrame]":
        """All tables, the command's CSV files."""
        return {name: item.frame for name, item in self.whole.tables.items()}

    @cached_property
    def figures(self) -> "dict[str, Figure]":
        """All figures, the command's image files; a notebook draws one that ends a cell."""
        return dict(figures(self.whole))

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{html(line)}</li>" for line in self.finding)
        return f"<ul>{lines}</ul><p>tables: {html(', '.join(self.tables))}</p>"
