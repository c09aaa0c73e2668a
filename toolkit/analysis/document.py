"""The whole report: every table, the finding in words, and the JSON document of it all."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from toolkit import __version__
from toolkit.analysis.agreement import agreement
from toolkit.analysis.attributes import attribute_tables
from toolkit.analysis.concordance import concordance_tables
from toolkit.analysis.conditional import partial, tertiles
from toolkit.analysis.coverage import coverage
from toolkit.analysis.distributions import distributions
from toolkit.analysis.finding import finding
from toolkit.analysis.fits import fits, improvement
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.noise import noise_ceiling
from toolkit.analysis.pairs import STATISTICS, matrix, pairs
from toolkit.analysis.published_comparison import published_tables
from toolkit.analysis.ranking import ranking
from toolkit.analysis.redundancy import redundancy
from toolkit.analysis.robustness import robustness
from toolkit.analysis.roles import Roles, roles
from toolkit.analysis.settings import Settings
from toolkit.analysis.subsets import subset_tables
from toolkit.analysis.table import Table
from toolkit.analysis.top import top
from toolkit.analysis.variance import variance

FEW = 12
"""Datasets up to which the noise ceiling of every pair is told; of more, that of the pairs with the reference."""


@dataclass(frozen=True)
class Report:
    """All that is said about some measurements."""

    data: Measurements
    settings: Settings
    roles: Roles
    tables: dict[str, Table]
    finding: list[str]
    """What it comes to, one sentence an item."""

    def document(self) -> dict[str, Any]:
        """Everything as one JSON document, the settings (seed and B) included."""
        return {
            "version": 1,
            "toolkit": __version__,
            "source": self.data.name,
            "settings": asdict(self.settings) | {"reference": self.roles.reference, "targets": self.roles.targets},
            "finding": self.finding,
            "conditions": list(self.data.conditions),
            "problems": list(self.data.problems),
            "tables": {
                name: {"title": t.title, "note": t.note, "rows": t.frame.to_dicts()} for name, t in self.tables.items()
            },
        }


def analyse(data: Measurements, settings: Settings, brief: bool = False) -> Report:
    """Every table that ``data`` allows, or (``brief``) those that the finding and the terminal need.

    Raises `UsageError` for settings that name what ``data`` has not.
    """
    who = roles(data, settings)
    tables = {item.name: item for item in _main_tables(data, who, settings, brief) if len(item.frame)}
    if not brief:
        further = _further_tables(data, who, settings, tables)
        tables |= {item.name: item for item in further if len(item.frame)}
    return Report(data, settings, who, tables, finding(data, who, tables))


def _main_tables(data: Measurements, who: Roles, settings: Settings, brief: bool) -> Iterator[Table]:
    yield coverage(data)
    yield ranking(data, settings)
    if len(data.datasets) > 1:
        found = pairs(data, who, settings)
        yield found
        for statistic in STATISTICS:
            yield matrix(found, data.datasets, statistic)
        yield from subset_tables(data, who, settings)
        yield agreement(data, who, settings)
        yield from noise_ceiling(data, settings, who.reference if brief or len(data.datasets) > FEW else None)
        yield top(data, who)
        yield from variance(data, who, settings)
        yield from concordance_tables(data, who)
    yield from published_tables(data, settings)


def _further_tables(data: Measurements, who: Roles, settings: Settings, tables: Mapping[str, Table]) -> Iterator[Table]:
    if len(data.datasets) > 1:
        yield from partial(data, who, settings)
        yield tertiles(data, who, settings)
        yield fits(data, who, settings)
        yield improvement(data, who, settings)
        yield from robustness(data, who)
        yield from redundancy(data, tables["pairs"], settings)
    yield from attribute_tables(data, settings)
    yield distributions(data)
