"""Rebuild ImageNot from LAION's metadata, stage by stage, in a build folder.

    python -m data_prep.imagenot classes  BUILD
    python -m data_prep.imagenot match    BUILD --source LAION_FOLDER_OR_URL
    python -m data_prep.imagenot score    BUILD
    python -m data_prep.imagenot select   BUILD
    python -m data_prep.imagenot download BUILD
    python -m data_prep.imagenot clean    BUILD
    python -m data_prep.imagenot write    BUILD --data DATA
    python -m data_prep.imagenot all      BUILD --source ... --data DATA
    python -m data_prep.imagenot status   BUILD

A stage that was stopped goes on where it was: finished shards are not done again. ``STAGE --help`` lists its options;
they stay in BUILD/build.json. match, score, download and clean work by shards: one by one, in ``--jobs`` processes, or
as a Slurm array (``--executor slurm``; start the stage again when the array has ended: it does what is missing).
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from data_prep.imagenot import shards
from data_prep.imagenot.build import Build, Counts
from data_prep.imagenot.options import STAGES, changed, options_help, parse_changes
from toolkit.cli import parser, print_json, run
from toolkit.errors import UsageError
from toolkit.study.dataset import data_root


def main(argv: Sequence[str]) -> int:
    """Parse, change the options, do the stage, print its counts."""
    args = _parser().parse_args(argv)
    document = args.command(args)
    if args.json:
        print_json(document)
    else:
        _print(document)
    return 0


def _parser() -> argparse.ArgumentParser:
    options = parser("data_prep.imagenot", __doc__)
    stages = options.add_subparsers(required=True, metavar="STAGE")
    for stage in (*STAGES, "all", "status", "choose"):
        _add_stage(stages, stage)
    return options


def _add_stage(stages: Any, stage: str) -> None:
    epilog = options_help(stage) if stage in STAGES else None
    help_ = {"all": "all stages, one after another", "status": "what is done", "choose": "new classes from a pool"}
    one = stages.add_parser(
        stage, help=help_.get(stage, ""), epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    one.add_argument("build", type=Path, metavar="BUILD", help="the build's folder")
    one.add_argument("--json", action="store_true", help="print the counts as JSON")
    one.set_defaults(command=COMMANDS.get(stage, _stage), stage=stage)
    if stage in STAGES:
        one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change an option (see below)")
    if stage in ("match", "all"):
        one.add_argument("--source", nargs="+", default=[], help="parquet files, folders, patterns, fsspec URLs")
    if stage in (*shards.SHARDED, "all"):
        one.add_argument("--jobs", type=int, default=1, metavar="N", help="shards at a time (default: 1)")
    if stage in shards.SHARDED:
        one.add_argument("--executor", choices=("local", "slurm"), default="local", help="(default: local)")
        one.add_argument("--profile", metavar="FILE", help="cluster profile, as for toolkit.launch")
        one.add_argument("--shard", type=int, metavar="I", help="do this shard alone")
    if stage in ("write", "all"):
        one.add_argument("--data", type=Path, help="folder of datasets (default: TOOLKIT_DATA, else ./data)")
        one.add_argument("--overwrite", action="store_true", help="replace the dataset if it is there")
    if stage == "select":
        one.add_argument("--sweep", type=float, nargs="+", metavar="T", help="show what thresholds would give, no more")
    if stage == "choose":
        one.add_argument("--classes", type=int, default=1000, metavar="N", help="how many (default: 1000)")
        one.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")


def _stage(args: argparse.Namespace) -> dict[str, Any]:
    build = _with_options(Build.open_or_create(args.build) if args.stage == "classes" else Build.open(args.build), args)
    if args.stage in shards.SHARDED:
        return _sharded(build, args)
    if args.stage == "select" and args.sweep:
        return {"sweep": shards.module("select").sweep(build, args.sweep)}
    return _single(build, args)


def _with_options(build: Build, args: argparse.Namespace) -> Build:
    changes = parse_changes(build.options, args.stage, args.set)
    if args.stage == "match" and args.source:
        changes["sources"] = _sources(args.source)
    options = changed(build.options, args.stage, changes)
    return build if options == build.options and build.path.exists() else build.save(options)


def _sources(patterns: Sequence[str]) -> list[str]:
    from data_prep.imagenot.laion import find_sources

    return find_sources(patterns)


def _single(build: Build, args: argparse.Namespace) -> dict[str, Any]:
    """A stage of one step."""
    if args.stage == "write":
        return {"write": shards.module("write").run(build, data_root(args.data), args.overwrite)}
    counts: Counts = shards.module(args.stage).run(build)
    build.finish(args.stage, "summary", counts)
    return {args.stage: counts}


def _sharded(build: Build, args: argparse.Namespace) -> dict[str, Any]:
    """A stage that works by shards: those that are missing, then what closes the stage."""
    if args.jobs < 1:
        raise UsageError(f"--jobs is at least 1, not {args.jobs}")
    build.claim(args.stage)
    if args.shard is not None:
        shards.run_shard(str(build.path), args.stage, args.shard)
    elif args.executor == "slurm":
        return _submit(build, args)
    else:
        _local(build, args.stage, args.jobs)
    return _closed(build, args.stage)


def _local(build: Build, stage: str, jobs: int) -> None:
    """All missing shards; of download, round after round."""
    shards.run_local(build, stage, shards.unfinished(build, stage), jobs)
    while stage == "download" and shards.module(stage).plan(build):
        shards.run_local(build, stage, shards.unfinished(build, stage), jobs)


def _submit(build: Build, args: argparse.Namespace) -> dict[str, Any]:
    from toolkit.executors.profile import load_profile

    profile = load_profile(args.profile)
    if args.stage == "download":
        shards.module(args.stage).plan(build)
    missing = shards.unfinished(build, args.stage)
    if not missing:
        return _closed(build, args.stage)
    return {
        args.stage: {"submitted": shards.submit(build, args.stage, missing, profile, args.jobs), "shards": len(missing)}
    }


def _closed(build: Build, stage: str) -> dict[str, Any]:
    """The stage's counts; of clean, when all shards are there, the choice among all images."""
    if stage == "clean" and not shards.unfinished(build, stage):
        build.finish(stage, "summary", shards.module(stage).finish(build))
    return {stage: shards.module("write").stage_counts(build, stage)}


def _all(args: argparse.Namespace) -> dict[str, Any]:
    """Every stage; download and clean in turn until no class lacks images or no spares are left."""
    from data_prep.imagenot import clean, download

    build = Build.open_or_create(args.build)
    sources = {"sources": _sources(args.source)} if args.source else {}
    build = build.save(changed(build.options, "match", sources))
    document: dict[str, Any] = {}
    for stage in ("classes", "match", "score", "select"):
        args.stage = stage
        if stage in shards.SHARDED:
            build.claim(stage)
            _local(build, stage, args.jobs)
            document |= _closed(build, stage)
        else:
            document |= _single(build, args)
    for stage in ("download", "clean"):
        build.claim(stage)
    _local(build, "download", args.jobs)
    _local(build, "clean", args.jobs)
    while clean.finish(build) and download.plan(build):
        _local(build, "download", args.jobs)
        _local(build, "clean", args.jobs)
    args.stage = "write"
    return document | _closed(build, "download") | _closed(build, "clean") | _single(build, args)


def _status(args: argparse.Namespace) -> dict[str, Any]:
    build = Build.open(args.build)
    return shards.module("write").funnel(build)


def _choose(args: argparse.Namespace) -> dict[str, Any]:
    return {"wnids": shards.module("select").choose_classes(Build.open(args.build), args.classes, args.seed)}


COMMANDS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "all": _all,
    "status": _status,
    "choose": _choose,
}


def _print(document: dict[str, Any]) -> None:
    """Counts as aligned lines; lists as lines of their own."""
    for stage, counts in document.items():
        if isinstance(counts, list):
            print("\n".join(_line(row) for row in counts))
        else:
            print(f"{stage}: {_line(counts)}")


def _line(row: Any) -> str:
    if not isinstance(row, dict):
        return str(row)
    shown = {key: value if isinstance(value, str) else f"{value:,}" for key, value in row.items()}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in shown.items())


if __name__ == "__main__":
    run(main)
