"""How many nets does a verdict need? Plan a study before it runs, or learn from one that has.

python -m toolkit.plan nets pilot --width 0.2           how many nets and seeds, on which datasets, in how many hours
python -m toolkit.plan nets --rho 0.3 --power 0.9       the same for an assumed correlation
python -m toolkit.plan looks demo                       where a study launched with --until or --halving stands
python -m toolkit.plan replay tuggener2022              stop a finished study early, again and again: what is saved?
python -m toolkit.plan epochs demo --best 1             from which epoch on nets rank as they end; successive halving
python -m toolkit.plan proxies tuggener2022             which cheaper dataset predicts a target, for how many hours
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.analysis.options import reading, reading_options
from toolkit.cli import filled, parser, positive, print_json, run, say
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from toolkit.planning.questions import Answer

GOALS = ("verdict", "verdict=0", "verdict=0.1", "verdict=0.3", "verdict=0.4", "verdict=0.5", "verdict=0.6",
         "width=0.2", "width=0.3", "width=0.4")  # fmt: skip
"""What a replay compares unless --until says otherwise; the first one is shown by target."""

IN_WORDS = "in_words"
"""A column that is said below the table."""


def main(argv: Sequence[str]) -> int:
    """Hand the arguments to the question that was asked."""
    args = _parser().parse_args(argv)
    answer = _answer(args)
    if args.json:
        print_json({t.name: {"title": t.title, "note": t.note, "rows": t.frame.to_dicts()} for t in answer[0]})
    else:
        _print(answer)
    if args.out:
        _write(Path(args.out), answer, quiet=args.json)
    return 0


def _answer(args: argparse.Namespace) -> "Answer":
    """What the question, filled from the options, says; the questions stand on scipy, which --help does not need."""
    from toolkit.planning import questions

    args.figures = bool(args.out)
    if "quantity" in args:
        args.reading = reading(args)
    asked: questions.Question = filled(getattr(questions, args.question), args)
    return asked.answer()


def _print(answer: "Answer") -> None:
    from toolkit.render.terminal import console, show

    for item in answer[0]:
        columns = tuple(name for name in item.frame.columns if name != IN_WORDS)
        show(console(), item.title, item.frame.select(columns), note=item.note)
        if IN_WORDS in item.frame.columns:
            say("\n".join(f"{row[0]}: {row[1]}" for row in item.frame.select("target", IN_WORDS).iter_rows()))


def _write(folder: Path, answer: "Answer", quiet: bool) -> None:
    from toolkit.render.export import write_tables
    from toolkit.render.sheets import save

    tables, drawn = answer
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_tables(tables, folder)
        for name, figure in drawn.items():
            save(figure, folder, name)
    except OSError as error:
        raise ToolkitError(f"{folder} cannot be written ({error.strerror}); name another --out") from error
    if not quiet:
        say(f"tables and figures: {folder}")


def _parser() -> argparse.ArgumentParser:
    p = parser("toolkit.plan", __doc__)
    questions = p.add_subparsers(title="questions", required=True, metavar="QUESTION")
    nets = questions.add_parser("nets", help="how many nets for an interval's width, and for a verdict?")
    nets.add_argument("--rho", nargs="+", type=float, default=[], metavar="RHO", help="assumed, in place of a pilot")
    nets.add_argument("--width", type=float, default=0.2, metavar="W", help="upper minus lower end (%(default)s)")
    nets.add_argument("--power", type=float, default=0.8, metavar="P", help="chance of a verdict (%(default)s)")
    nets.add_argument("--noise", type=float, metavar="SD", help="of a value, where neither seeds nor counts tell it")
    nets.add_argument("--draw-sd", type=float, default=0.0, metavar="SD", help="of rho between draws of classes (0)")
    nets.add_argument("--draws", type=positive, default=1, metavar="K", help="draws of classes averaged (1)")
    nets.set_defaults(question="Nets")
    replay = questions.add_parser("replay", help="what would stopping have saved, and which verdicts would differ?")
    replay.add_argument(
        "--until", nargs="+", default=GOALS, metavar="GOAL", help=f"goals to compare ({' '.join(GOALS)})"
    )
    replay.add_argument("--replays", type=positive, default=1000, metavar="N", help="(%(default)s)")
    replay.set_defaults(question="Replay")
    epochs = questions.add_parser("epochs", help="from which epoch on do nets rank as they end? successive halving")
    epochs.add_argument("--best", type=positive, default=1, metavar="K", help="best nets not to be lost (%(default)s)")
    epochs.set_defaults(question="Epochs")
    proxies = questions.add_parser("proxies", help="which subset predicts a target, at what cost?")
    proxies.set_defaults(question="Proxies")
    looks = questions.add_parser(
        "looks", help="where do the targets of a study launched with --until or --halving stand?"
    )
    looks.set_defaults(question="Looks")
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
