"""Do rankings transfer between datasets? From results to the tables and figures of a paper.

python -m toolkit.report demo                           a study (runs/demo); its files go to runs/demo/report
python -m toolkit.report errors.csv --out paper/        anybody's table: architecture, dataset, error (tidy), or
                                                        architecture and one column for each dataset (wide)
python -m toolkit.report demo --with imagenet@timm      do my nets rank as they are published to rank on ImageNet?
python -m toolkit.report tuggener2022                   a published study, shipped (imagenot2024 is the other)
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.analysis.options import reading, reading_options
from toolkit.cli import parser, print_json, run, say
from toolkit.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from toolkit.analysis.document import Report
    from toolkit.reporting import ReportRequest

PROBLEMS_SHOWN = 20


def main(argv: Sequence[str]) -> int:
    """Load, analyse, print, write."""
    args = _parse(argv)
    from toolkit.reporting import make_report

    report, home = make_report(_request(args))
    for line in _skipped(report.data.problems):
        say(line, to=sys.stderr)
    if args.json:
        print_json(report.document())
    else:
        from toolkit.render.summary import summarise

        summarise(report)
    if out := args.out or (home / "report" if home and not args.json else None):
        _write(report, Path(out), quiet=args.json)
    return 0


def _parse(argv: Sequence[str]) -> "argparse.Namespace":
    options = parser("toolkit.report", __doc__)
    add = options.add_argument
    add("source", nargs="+", help="a study's name or folder, CSV/TSV/Parquet files, or a shipped study's name")
    add(
        "--with",
        dest="others",
        nargs="+",
        default=[],
        metavar="TABLE",
        help="set others' values beside: imagenet@torchvision, imagenet@timm (published accuracies), or a file",
    )
    add("--reference", metavar="DATASET", help="whose ranking should transfer (default: imagenet, else the first)")
    add("--targets", nargs="+", default=[], metavar="DATASET", help="to which (default: all but its subsets)")
    reading_options(options)
    add(
        "--cluster", metavar="COLUMN", help="nets' families, drawn together (default: by their names; none: net by net)"
    )
    add("--noise", type=float, metavar="SD", help="standard error of a value, where neither seeds nor counts tell it")
    add("--given", nargs="+", default=[], metavar="COLUMN", help="hold these fixed in partial correlations (flops)")
    add("--baseline", metavar="ARCH", help="improvement is relative to it (default: the worst on the reference)")
    add("--scale", choices=("raw", "ratio", "logit", "probit"), default="raw", help="of the linear fits")
    add("--resamples", type=int, metavar="B", help="bootstrap resamples (10000; 500 without files)")
    add("--seed", type=int, default=0, help="of all resampling (default 0)")
    add("--out", metavar="DIR", help="write page, tables and figures here (a study's default: STUDY/report)")
    add("--json", action="store_true", help="print one JSON document of everything instead")
    args = options.parse_args(argv)
    if args.resamples is not None and not 100 <= args.resamples <= 1_000_000:
        raise UsageError(f"--resamples {args.resamples}: an interval needs 100 to 1000000")
    if args.seed < 0 or (args.noise is not None and not 0 < args.noise < float("inf")):
        raise UsageError("--seed is 0 or more, --noise more than 0")
    return args


def _request(args: "argparse.Namespace") -> "ReportRequest":
    from toolkit.analysis.settings import Settings
    from toolkit.reporting import IN_TERMINAL, ReportRequest

    settings = Settings(
        seed=args.seed,
        reference=args.reference,
        targets=tuple(args.targets),
        noise=args.noise,
        given=tuple(args.given),
        baseline=args.baseline,
        scale=args.scale,
    )
    return ReportRequest(
        tuple(args.source),
        tuple(args.others),
        reading(args),
        args.cluster,
        settings,
        args.resamples or (IN_TERMINAL if args.json and not args.out else None),
        complete=True if args.out or args.json else None,
    )


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
            say(line)


if __name__ == "__main__":
    run(main)
