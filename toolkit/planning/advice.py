"""What a report says of planning: that a study was looked at before it ended, and what would settle what is open."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from toolkit.analysis.document import Report
from toolkit.analysis.finding import interval_of, verdict_of, with_reference
from toolkit.planning.hours import net_hours
from toolkit.planning.nets import ONE_DRAW, nets_table, pilot_assumptions
from toolkit.planning.proxies import proxies_table
from toolkit.planning.stopping import StoppingRule, progress, rule_path, standings_table
from toolkit.study import Study

WIDTH, POWER = 0.2, 0.8
"""What `toolkit.plan nets` answers for by default."""
AS_WORDS = 3
"""Open targets up to which each is answered for in the finding; the table has all."""


def with_planning(report: Report, source: str, home: Path | None) -> Report:
    """``report`` with a table of what would settle each open target and, where a study stopped by itself, its looks."""
    if "pairs" not in report.tables:
        return report
    return _with_looks(_with_proxies(_with_advice(report, source, home), source, home), home)


def _with_proxies(report: Report, source: str, home: Path | None) -> Report:
    """``report`` with what each proxy costs and predicts, where the reference has subsets and hours are known."""
    if not (report.roles.subsets or report.roles.controls) or not report.roles.targets:
        return report
    hours, basis = net_hours(source, home)
    if report.roles.reference not in hours:
        return report
    item = proxies_table(report.data, report.roles, hours, basis)
    return replace(report, tables=report.tables | {"proxies": item})


def _with_advice(report: Report, source: str, home: Path | None) -> Report:
    wanted = _open_targets(report)
    known = [k for k in pilot_assumptions(report.data, report.roles, report.settings) if k.target in wanted]
    if not known:
        return report
    hours, basis = net_hours(source, home)
    item = nets_table(known, WIDTH, POWER, ONE_DRAW, hours)
    rows = item.frame.filter(pl.col("verdict") == "open").iter_rows(named=True)
    said = [f"{row['target']}: {row['in_words']}" for row in rows][:AS_WORDS]
    if not said:
        return report
    line = f"To settle what is open: {'; '.join(said)}{f' ({basis})' if hours else ''}."
    return replace(report, tables=report.tables | {"nets": item}, finding=[*report.finding, line])


def _open_targets(report: Report) -> set[str]:
    """Targets whose interval with the reference tells no verdict."""
    rows = with_reference(report.roles, report.tables["pairs"].frame)
    told = [row for row in rows if row["spearman_low"] is not None]
    return {row["target"] for row in told if verdict_of(interval_of(row)) == "open"}


def _with_looks(report: Report, home: Path | None) -> Report:
    if home is None or not rule_path(Study(home)).exists():
        return report
    rule = StoppingRule.read(rule_path(Study(home)))
    item = standings_table(rule, progress(Study(home), rule))
    line = (
        f"This study stopped by itself (until {rule.goal}): its verdicts are those of the table '{item.title}', whose "
        "intervals count every look; the others assume that nobody looked before."
    )
    return replace(report, tables={item.name: item} | report.tables, finding=[line, *report.finding])
