"""The questions of `toolkit.plan`: what each is asked, and its tables and figures."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import polars as pl

from toolkit.analysis.measurements import Measurements
from toolkit.analysis.roles import Roles, roles
from toolkit.analysis.settings import Settings
from toolkit.analysis.sources import load
from toolkit.analysis.table import Table
from toolkit.analysis.table_source import Reading
from toolkit.errors import UsageError
from toolkit.planning.epochs import curves, epochs_table, halving_table
from toolkit.planning.goal import parse_goal
from toolkit.planning.halving import HalvingRule
from toolkit.planning.hours import net_hours
from toolkit.planning.nets import ClassDraws, assumed, nets_table, pilot_assumptions, width_curves
from toolkit.planning.proxies import proxies_table
from toolkit.planning.replay import replay_tables, replays
from toolkit.planning.stopping import StoppingRule, progress, rule_path, standings_table
from toolkit.study import Study
from toolkit.study.study import HALVING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Answer: TypeAlias = tuple[list[Table], dict[str, "Figure"]]


@dataclass(frozen=True)
class OfTables:
    """A question about measurements: a study's, those of tables, or a published study's."""

    source: tuple[str, ...]
    reading: Reading
    reference: str | None
    seed: int
    """Of what is drawn."""
    figures: bool
    """Whether they are drawn; matplotlib is imported then."""

    def settings(self) -> Settings:
        """Which dataset's ranking should transfer."""
        return Settings(reference=self.reference)

    def load(self) -> tuple[Measurements, Path | None, Roles]:
        """Measurements, the study's folder if it is one, and who is who."""
        data, home = load(self.source, self.reading)
        return data, home, roles(data, self.settings())


@dataclass(frozen=True)
class Replay(OfTables):
    """Stop a finished study early, again and again: what is saved?"""

    until: tuple[str, ...]
    """Goals to compare; the first one is shown by target."""
    replays: int

    def answer(self) -> Answer:
        """Nets and hours by target, and by goal."""
        goals = [parse_goal(text) for text in self.until]
        data, home, who = self.load()
        found = replays(data, who, self.replays, self.seed, len(os.sched_getaffinity(0)))
        hours, _ = net_hours(self.source[0], home)
        tables = replay_tables(found, goals, hours, who.reference)
        return tables, {"replay": _drawn_replay(tables, found.schedule[-1])} if self.figures else {}


@dataclass(frozen=True)
class Nets(OfTables):
    """How many nets and seeds, on which datasets, in how many hours? Raises `UsageError` for numbers out of range."""

    rho: tuple[float, ...]
    """Assumed correlations, in place of a pilot."""
    width: float
    power: float
    noise: float | None
    draw_sd: float
    draws: int

    def __post_init__(self) -> None:
        if bool(self.source) == bool(self.rho):
            raise UsageError("give a pilot (a study, tables, a shipped study) or --rho with assumed correlations")
        wrong = [rho for rho in self.rho if not -1 < rho < 1]
        if wrong or not 0 < self.width < 2 or not 0 < self.power < 1 or self.draw_sd < 0:
            raise UsageError(
                "--rho is within -1 and 1, --width within 0 and 2, --power within 0 and 1, --draw-sd 0 or more"
            )

    def settings(self) -> Settings:
        """With the noise that neither seeds nor counts tell."""
        return Settings(reference=self.reference, noise=self.noise)

    def answer(self) -> Answer:
        """Nets for an interval's width, and for a verdict."""
        draws = ClassDraws(self.draw_sd, self.draws)
        known, hours, basis = [assumed(rho) for rho in self.rho], dict[str, float](), ""
        if self.source:
            data, home, who = self.load()
            known = pilot_assumptions(data, who, self.settings())
            hours, basis = net_hours(self.source[0], home)
        tables = [nets_table(known, self.width, self.power, draws, hours)]
        curves_of = pl.DataFrame(width_curves(known, draws, hours)) if self.figures else None
        return tables, {} if curves_of is None else {"widths": _drawn_widths(curves_of, basis)}


@dataclass(frozen=True)
class Proxies(OfTables):
    """Which cheaper dataset predicts a target, for how many hours?"""

    def answer(self) -> Answer:
        """Correlation and hours by dataset and target."""
        data, home, who = self.load()
        item = proxies_table(data, who, *net_hours(self.source[0], home))
        return [item], {"proxies": _drawn_proxies(item)} if self.figures else {}


@dataclass(frozen=True)
class Looks:
    """Where does a study stand that was launched with ``--until`` or ``--halving``?"""

    source: tuple[str, ...]

    def answer(self) -> Answer:
        """Where its targets stand, or its nets. Raises `UsageError` for a study that was launched with neither."""
        study = Study.open(self.source[0])
        if study.halved:
            return [HalvingRule.read(study.path / HALVING).wave(study, study.tasks()).standing], {}
        if not rule_path(study).exists():
            raise UsageError(
                f"study {study.path} was launched with neither --until nor --halving: python -m toolkit.report has its "
                "intervals"
            )
        rule = StoppingRule.read(rule_path(study))
        return [standings_table(rule, progress(study, rule))], {}


@dataclass(frozen=True)
class Epochs:
    """From which epoch on do nets rank as they end?"""

    source: tuple[str, ...]
    best: int
    """Nets not to be lost by halving."""
    seed: int

    def answer(self) -> Answer:
        """By epoch; and what successive halving would have found."""
        found = curves(Study.open(self.source[0]))
        return [epochs_table(found), halving_table(found, self.best, self.seed)], {}


Question = Replay | Nets | Proxies | Looks | Epochs


# Figures cost an import of matplotlib, half a second: it is paid where they are drawn.
def _drawn_replay(tables: list[Table], every: int) -> "Figure":
    from toolkit.planning.figures import replay_figure

    return replay_figure(tables[0].frame, tables[1].frame, every)


def _drawn_widths(curves_of: pl.DataFrame, basis: str) -> "Figure":
    from toolkit.planning.figures import width_figure

    return width_figure(curves_of, basis)


def _drawn_proxies(item: Table) -> "Figure":
    from toolkit.planning.figures import frontier_figure

    return frontier_figure(item.frame)
