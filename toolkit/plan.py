"""How many nets does a verdict need? Plan a study before it runs, or learn from one that has.

python -m toolkit.plan nets pilot --width 0.2           how many nets and seeds, on which datasets, in how many hours
python -m toolkit.plan nets --rho 0.3 --power 0.9       the same for an assumed correlation
python -m toolkit.plan looks demo                       where a study launched with --until or --halving stands
python -m toolkit.plan replay tuggener2022              stop a finished study early, again and again: what is saved?
python -m toolkit.plan epochs demo --best 1             from which epoch on nets rank as they end; successive halving
python -m toolkit.plan proxies tuggener2022             which cheaper dataset predicts a target, for how many hours
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from toolkit.analysis.options import reading, reading_options
from toolkit.cli import parser, positive, print_json, run, say

if TYPE_CHECKING:
    import argparse

    from matplotlib.figure import Figure

    from toolkit.analysis.table import Table

GOALS = ("verdict", "verdict=0", "verdict=0.1", "verdict=0.3", "verdict=0.4", "verdict=0.5", "verdict=0.6",
         "width=0.2", "width=0.3", "width=0.4")  # fmt: skip
"""What a replay compares unless --until says otherwise; the first one is shown by target."""

IN_WORDS = "in_words"
"""A column that is said below the table."""

Answer: TypeAlias = tuple[list["Table"], dict[str, "Figure"]]


def main(argv: Sequence[str]) -> int:
    """Hand the arguments to the question that was asked."""
    args = _parser().parse_args(argv)
    tables, drawn = args.answer(args)
    if args.json:
        print_json({t.name: {"title": t.title, "note": t.note, "rows": t.frame.to_dicts()} for t in tables})
    else:
        from toolkit.render.terminal import console, show

        for item in tables:
            columns = tuple(name for name in item.frame.columns if name != IN_WORDS)
            show(console(), item.title, item.frame.select(columns), note=item.note)
            if IN_WORDS in item.frame.columns:
                say("\n".join(f"{row[0]}: {row[1]}" for row in item.frame.select("target", IN_WORDS).iter_rows()))
    if args.out:
        _write(Path(args.out), tables, drawn, quiet=args.json)
    return 0


def _write(folder: Path, tables: Sequence["Table"], drawn: Mapping[str, "Figure"], quiet: bool) -> None:
    from toolkit.errors import ToolkitError
    from toolkit.render.export import write_tables
    from toolkit.render.figures import save

    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_tables(list(tables), folder)
        for name, figure in drawn.items():
            save(figure, folder, name)
    except OSError as error:
        raise ToolkitError(f"{folder} cannot be written ({error.strerror}); name another --out") from error
    if not quiet:
        say(f"tables and figures: {folder}")


def _replay(args: "argparse.Namespace") -> Answer:
    from toolkit.planning.figures import replay_figure
    from toolkit.planning.goal import parse_goal
    from toolkit.planning.hours import net_hours
    from toolkit.planning.replay import replay_tables, replays

    goals = [parse_goal(text) for text in args.until or GOALS]
    data, home, who = _load(args)
    found = replays(data, who, args.replays, args.seed, len(os.sched_getaffinity(0)))
    hours, _ = net_hours(args.source[0], home)
    tables = replay_tables(found, goals, hours, who.reference)
    return tables, {"replay": replay_figure(tables[0].frame, tables[1].frame, found.schedule[-1])} if args.out else {}


def _nets(args: "argparse.Namespace") -> Answer:
    import polars as pl

    from toolkit.errors import UsageError
    from toolkit.planning.figures import width_figure
    from toolkit.planning.hours import net_hours
    from toolkit.planning.nets import ClassDraws, assumed, nets_table, pilot_assumptions, width_curves

    if bool(args.source) == bool(args.rho):
        raise UsageError("give a pilot (a study, tables, a shipped study) or --rho with assumed correlations")
    wrong = [rho for rho in args.rho if not -1 < rho < 1]
    if wrong or not 0 < args.width < 2 or not 0 < args.power < 1 or args.draw_sd < 0:
        raise UsageError(
            "--rho is within -1 and 1, --width within 0 and 2, --power within 0 and 1, --draw-sd 0 or more"
        )
    draws = ClassDraws(args.draw_sd, args.draws)
    known, hours, basis = [assumed(rho) for rho in args.rho], dict[str, float](), ""
    if args.source:
        data, home, who = _load(args)
        known = pilot_assumptions(data, who, _settings(args))
        hours, basis = net_hours(args.source[0], home)
    item = nets_table(known, args.width, args.power, draws, hours)
    drawn = {}
    if args.out:
        drawn["widths"] = width_figure(pl.DataFrame(width_curves(known, draws, hours)), basis)
    return [item], drawn


def _looks(args: "argparse.Namespace") -> Answer:
    from toolkit.errors import UsageError
    from toolkit.planning.halving import HalvingRule
    from toolkit.planning.stopping import StoppingRule, progress, rule_path, standings_table
    from toolkit.study import Study
    from toolkit.study.study import HALVING

    study = Study.open(args.source[0])
    if study.halved:
        return [HalvingRule.read(study.path / HALVING).wave(study, study.tasks()).standing], {}
    if not rule_path(study).exists():
        raise UsageError(
            f"study {study.path} was launched with neither --until nor --halving: python -m toolkit.report has its "
            "intervals"
        )
    rule = StoppingRule.read(rule_path(study))
    return [standings_table(rule, progress(study, rule))], {}


def _epochs(args: "argparse.Namespace") -> Answer:
    from toolkit.planning.epochs import curves, epochs_table, halving_table
    from toolkit.study import Study

    found = curves(Study.open(args.source[0]))
    return [epochs_table(found), halving_table(found, args.best, args.seed)], {}


def _proxies(args: "argparse.Namespace") -> Answer:
    from toolkit.planning.figures import frontier_figure
    from toolkit.planning.hours import net_hours
    from toolkit.planning.proxies import proxies_table

    data, home, who = _load(args)
    item = proxies_table(data, who, *net_hours(args.source[0], home))
    return [item], {"proxies": frontier_figure(item.frame)} if args.out else {}


def _settings(args: "argparse.Namespace") -> Any:
    from toolkit.analysis.settings import Settings

    return Settings(reference=args.reference, noise=getattr(args, "noise", None))


def _load(args: "argparse.Namespace") -> tuple[Any, Path | None, Any]:
    """Measurements, the study's folder if it is one, and who is who."""
    from toolkit.analysis.roles import roles
    from toolkit.analysis.sources import load

    data, home = load(args.source, reading(args))
    return data, home, roles(data, _settings(args))


def _parser() -> "argparse.ArgumentParser":
    p = parser("toolkit.plan", __doc__)
    questions = p.add_subparsers(title="questions", required=True, metavar="QUESTION")
    nets = questions.add_parser("nets", help="how many nets for an interval's width, and for a verdict?")
    nets.add_argument("--rho", nargs="+", type=float, default=[], metavar="RHO", help="assumed, in place of a pilot")
    nets.add_argument("--width", type=float, default=0.2, metavar="W", help="upper minus lower end (%(default)s)")
    nets.add_argument("--power", type=float, default=0.8, metavar="P", help="chance of a verdict (%(default)s)")
    nets.add_argument("--noise", type=float, metavar="SD", help="of a value, where neither seeds nor counts tell it")
    nets.add_argument("--draw-sd", type=float, default=0.0, metavar="SD", help="of rho between draws of classes (0)")
    nets.add_argument("--draws", type=positive, default=1, metavar="K", help="draws of classes averaged (1)")
    nets.set_defaults(answer=_nets)
    replay = questions.add_parser("replay", help="what would stopping have saved, and which verdicts would differ?")
    replay.add_argument("--until", nargs="+", metavar="GOAL", help=f"goals to compare ({' '.join(GOALS)})")
    replay.add_argument("--replays", type=positive, default=1000, metavar="N", help="(%(default)s)")
    replay.set_defaults(answer=_replay)
    epochs = questions.add_parser("epochs", help="from which epoch on do nets rank as they end? successive halving")
    epochs.add_argument("--best", type=positive, default=1, metavar="K", help="best nets not to be lost (%(default)s)")
    epochs.set_defaults(answer=_epochs)
    proxies = questions.add_parser("proxies", help="which subset predicts a target, at what cost?")
    proxies.set_defaults(answer=_proxies)
    looks = questions.add_parser(
        "looks", help="where do the targets of a study launched with --until or --halving stand?"
    )
    looks.set_defaults(answer=_looks)
    for question in (nets, replay, proxies):
        reading_options(question)
    for question in (nets, looks, replay, epochs, proxies):
        count = "*" if question is nets else 1 if question in (looks, epochs) else "+"
        question.add_argument("source", nargs=count, help="a study, tables (CSV, TSV, Parquet), or a shipped study")
        question.add_argument("--reference", metavar="DATASET", help="whose ranking should transfer (imagenet)")
        question.add_argument("--seed", type=int, default=0, help="of what is drawn (%(default)s)")
        question.add_argument("--out", metavar="DIR", help="write tables and figures here")
        question.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return p


if __name__ == "__main__":
    run(main)
