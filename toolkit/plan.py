"""How many nets does a verdict need? Plan a study before it runs, or learn from one that has.

python -m toolkit.plan replay tuggener2022              stop a finished study early, again and again: what is saved?
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.cli import parser, positive, print_json, run

if TYPE_CHECKING:
    import argparse

    from matplotlib.figure import Figure

    from toolkit.analysis.table import Table

GOALS = ("verdict", "verdict=0", "verdict=0.1", "verdict=0.3", "verdict=0.4", "verdict=0.5", "verdict=0.6",
         "width=0.2", "width=0.3", "width=0.4")  # fmt: skip
"""What a replay compares unless --until says otherwise; the first one is shown by target."""


def main(argv: Sequence[str]) -> int:
    """Hand the arguments to the question that was asked."""
    args = _parser().parse_args(argv)
    found: tuple[Sequence[Table], Mapping[str, Figure]] = args.answer(args)
    tables, drawn = found
    if args.json:
        print_json({t.name: {"title": t.title, "note": t.note, "rows": t.frame.to_dicts()} for t in tables})
    else:
        from toolkit.render.terminal import console, show

        for item in tables:
            show(console(), item.title, item.frame, note=item.note)
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
        print(f"tables and figures: {folder}")


def _replay(args: "argparse.Namespace") -> tuple[list["Table"], dict[str, "Figure"]]:
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


def _load(args: "argparse.Namespace") -> tuple[Any, Path | None, Any]:
    """Measurements, the study's folder if it is one, and who is who."""
    from toolkit.analysis.roles import roles
    from toolkit.analysis.settings import Settings
    from toolkit.analysis.sources import load

    data, home = load(args.source)
    return data, home, roles(data, Settings(reference=args.reference))


def _parser() -> "argparse.ArgumentParser":
    p = parser("toolkit.plan", __doc__)
    questions = p.add_subparsers(title="questions", required=True, metavar="QUESTION")
    replay = questions.add_parser("replay", help="what would stopping have saved, and which verdicts would differ?")
    replay.add_argument("--until", nargs="+", metavar="GOAL", help=f"goals to compare ({' '.join(GOALS)})")
    replay.add_argument("--replays", type=positive, default=1000, metavar="N", help="(%(default)s)")
    replay.add_argument("--seed", type=int, default=0, help="of the orders (%(default)s)")
    replay.set_defaults(answer=_replay)
    for question in (replay,):
        question.add_argument("source", nargs="+", help="a study, tables (CSV, TSV, Parquet), or a shipped study")
        question.add_argument("--reference", metavar="DATASET", help="whose ranking should transfer (imagenet)")
        question.add_argument("--out", metavar="DIR", help="write tables and figures here")
        question.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return p


if __name__ == "__main__":
    run(main)
