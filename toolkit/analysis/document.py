"""The whole report: every table, the finding in words, and the JSON document of it all."""

from dataclasses import dataclass
from typing import Any

from toolkit import __version__
from toolkit.analysis.coverage import coverage
from toolkit.analysis.finding import finding
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.pairs import STATISTICS, matrix, pairs
from toolkit.analysis.ranking import ranking
from toolkit.analysis.settings import Settings
from toolkit.analysis.table import Table


@dataclass(frozen=True)
class Report:
    """All that is said about some measurements."""

    data: Measurements
    settings: Settings
    tables: dict[str, Table]
    finding: list[str]
    """What it comes to, one sentence an item."""

    def document(self) -> dict[str, Any]:
        """Everything as one JSON document, the settings (seed and B) included."""
        return {
            "version": 1,
            "toolkit": __version__,
            "source": self.data.name,
            "settings": {"resamples": self.settings.resamples, "seed": self.settings.seed},
            "finding": self.finding,
            "problems": list(self.data.problems),
            "tables": {
                name: {"title": t.title, "note": t.note, "rows": t.frame.to_dicts()} for name, t in self.tables.items()
            },
        }


def analyse(data: Measurements, settings: Settings) -> Report:
    """Every table that ``data`` allows."""
    found = [coverage(data), pairs(data, settings), ranking(data, settings)]
    tables = {item.name: item for item in found}
    if len(data.datasets) > 1:
        for statistic in STATISTICS:
            square = matrix(tables["pairs"], data.datasets, statistic)
            tables[square.name] = square
    return Report(data, settings, tables, finding(data, tables))
