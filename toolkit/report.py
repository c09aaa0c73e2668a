"""From results to the tables and figures of a paper.

python -m toolkit.report demo                      a study (runs/demo)
python -m toolkit.report runs/demo --out paper/    tables and figures go to paper/ instead of the study's report/
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli import parser, print_json, run

if TYPE_CHECKING:
    import argparse

    from toolkit.analysis.document import Report


PROBLEMS_SHOWN = 20


def main(argv: Sequence[str]) -> int:
    """Parse, load, analyse, draw."""
    args = _parse(argv)
    from toolkit.analysis.document import analyse
    from toolkit.analysis.settings import Settings
    from toolkit.analysis.sources import load

    data, home = load(args.source)
    settings = Settings(resamples=args.resamples, seed=args.seed, reference=args.reference, targets=tuple(args.targets))
    report = analyse(data, settings)
    for line in _skipped(data.problems):
        print(line, file=sys.stderr)
    if args.json:
        print_json(report.document())
    else:
        from toolkit.render.summary import summarise

        summarise(report)
    out = args.out or (home / "report" if home and not args.json else None)
    if out:
        _write(report, Path(out), quiet=args.json)
    return 0


def _parse(argv: Sequence[str]) -> "argparse.Namespace":
    options = parser("toolkit.report", __doc__)
    options.add_argument("source", help="a study's name or folder")
    options.add_argument(
        "--reference", metavar="DATASET", help="whose ranking is hoped to transfer (default: the first)"
    )
    options.add_argument(
        "--targets", nargs="+", default=[], metavar="DATASET", help="to which datasets (default: the rest)"
    )
    options.add_argument("--resamples", type=int, default=2000, metavar="B", help="bootstrap resamples (default 2000)")
    options.add_argument("--seed", type=int, default=0, help="of all resampling (default 0)")
    options.add_argument("--out", metavar="DIR", help="write tables and figures here (a study's default: STUDY/report)")
    options.add_argument("--json", action="store_true", help="print one JSON document of everything instead")
    return options.parse_args(argv)


def _skipped(problems: Sequence[str]) -> list[str]:
    """What was left out, a line each; the JSON document has all when they are many."""
    lines = [f"skipped: {' '.join(problem.split())}" for problem in problems[:PROBLEMS_SHOWN]]
    more = len(problems) - len(lines)
    return [*lines, f"skipped: {more} more (--json lists all)"] if more else lines


def _write(report: "Report", folder: Path, quiet: bool) -> None:
    from toolkit.render.files import write_report

    written = write_report(report, folder)
    if not quiet:
        for line in written:
            print(line)


if __name__ == "__main__":
    run(main)
