"""A report from what is asked of it, for the command and for notebooks alike."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from toolkit.analysis.beside import with_others
from toolkit.analysis.document import Report, analyse
from toolkit.analysis.families import with_cluster, with_families
from toolkit.analysis.settings import Settings
from toolkit.analysis.sources import load
from toolkit.analysis.table_source import Reading
from toolkit.planning.advice import with_planning

IN_TERMINAL, IN_FILES = 500, 10_000
"""Resamples by default: fewer where somebody waits, enough for two stable digits in print. Our choice."""


@dataclass(frozen=True)
class ReportRequest:
    """What is reported on, how it is read, and how it is analysed."""

    sources: tuple[str, ...]
    """A study's name or folder, files of tables, or the name of a shipped study."""
    others: tuple[str, ...] = ()
    """Tables set beside: ``imagenet@timm``, ``imagenet@torchvision``, files."""
    reading: Reading = field(default_factory=Reading)
    """What is said of the columns of tables."""
    cluster: str | None = None
    """Column with the nets' families; None: by their names; "none": nets are drawn one by one."""
    settings: Settings = field(default_factory=Settings)
    resamples: int | None = None
    """B in place of the settings'; None: `IN_FILES` of a complete report, `IN_TERMINAL` of a brief one."""
    complete: bool | None = None
    """All tables, or only what the finding and the terminal need; None: all of a study."""


def make_report(request: ReportRequest) -> tuple[Report, Path | None]:
    """The report, and the study's folder where it is on one: load, analyse, say what would settle what is open.

    Raises `UsageError` where one reading is not enough.
    """
    of_source = all(Path(source).is_file() for source in request.sources)
    told = with_cluster(request.reading, request.cluster) if of_source else request.reading
    data, home = load(request.sources, told if of_source or not request.others else None)
    data = with_families(with_others(data, request.others, request.reading), request.cluster)
    complete = home is not None if request.complete is None else request.complete
    resamples = request.resamples or (IN_FILES if complete else IN_TERMINAL)
    report = analyse(data, replace(request.settings, resamples=resamples), brief=not complete)
    return with_planning(report, request.sources[0], home), home
