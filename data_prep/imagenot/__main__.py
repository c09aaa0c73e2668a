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
    python -m data_prep.imagenot takedown BUILD --listed FILE --data DATA

A stage that was stopped goes on where it was: finished shards are not done again. ``STAGE --help`` lists its options;
they stay in BUILD/build.json. match, score, download and clean work by shards: one by one, in ``--jobs`` processes, or
as a Slurm array (``--executor slurm``; start the stage again when the array has ended: it does what is missing).
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from data_prep.imagenot import shards
from data_prep.imagenot.build import Build, Counts
from data_prep.imagenot.laion import RELAION, find_sources
from data_prep.imagenot.options import RULES, STAGES, changed, options_help, parse_changes, with_rule
from toolkit.cli import filled, parser, print_json, run, say
from toolkit.cluster.profile import load_profile
from toolkit.errors import UsageError
from toolkit.study.dataset import data_root


@dataclass(frozen=True)
class StageRequest:
    """What a stage is asked to do. `OPTIONS` says which stages look at which fields."""

    build: Path
    """The build's folder."""
    stage: str
    changes: tuple[str, ...] = ()
    """Of options, each as ``KEY=VALUE``."""
    source: tuple[str, ...] = ()
    """Tables of metadata: files, folders, patterns, URLs."""
    rule: str | None = None
    """A name of `RULES`."""
    dry_run: bool = False
    jobs: int = 1
    """Shards at a time."""
    executor: Literal["local", "slurm"] = "local"
    profile: str | None = None
    """File of the cluster profile."""
    shard: int | None = None
    """The one to do."""
    retry: bool = False
    block: str | None = None
    """File with what is not to be fetched."""
    allow_private: bool = False
    listed: str = ""
    """File with what is to be taken down."""
    data: Path | None = None
    """Folder of datasets."""
    overwrite: bool = False
    sweep: tuple[float, ...] = ()
    """Thresholds to try."""
    classes: int = 1000
    """How many are chosen."""
    seed: int = 0
    """Of the draw."""


def main(argv: Sequence[str]) -> int:
    """Parse, change the options, do the stage, print its counts."""
    args = _parser().parse_args(argv)
    document = COMMANDS.get(args.stage, _stage)(filled(StageRequest, args))
    if args.json:
        print_json(document)
    else:
        _print(document)
    return 0


def _parser() -> argparse.ArgumentParser:
    options = parser("data_prep.imagenot", __doc__)
    stages = options.add_subparsers(required=True, metavar="STAGE")
    for stage in (*STAGES, "all", "status", "choose", "takedown"):
        _add_stage(stages, stage)
    return options


HELP = {
    "all": "all stages, one after another",
    "status": "what is done",
    "choose": "new classes from a pool",
    "takedown": "remove images and their copies from tars, tables and the dataset",
}


def _add_stage(stages: Any, stage: str) -> None:
    epilog = options_help(stage) if stage in STAGES else None
    plain = argparse.RawDescriptionHelpFormatter
    one = stages.add_parser(stage, help=HELP.get(stage, ""), epilog=epilog, formatter_class=plain)
    one.add_argument("build", type=Path, metavar="BUILD", help="the build's folder")
    one.add_argument("--json", action="store_true", help="print the counts as JSON")
    one.set_defaults(stage=stage)
    for options, of in OPTIONS:
        if stage in of:
            options(one.add_argument)


def _changes(add: Any) -> None:
    text = "change an option; with all: STAGE.KEY=VALUE"
    add("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE", help=text)


def _sources_and_rule(add: Any) -> None:
    tables = "tables (parquet, TSV, CSV), folders, patterns, URLs (hf://, s3://); default: Re-LAION-5B"
    add("--source", nargs="+", default=[], help=tables)
    add("--rule", choices=tuple(RULES), help="caption rule, encoder and threshold (default: broad)")


def _dry_run(add: Any) -> None:
    add("--dry-run", action="store_true", help="tell what it would find, cost, fetch and leave on the disk, and end")


def _at_a_time(add: Any) -> None:
    add("--jobs", type=int, default=1, metavar="N", help="shards at a time (default: 1)")


def _executor(add: Any) -> None:
    add("--executor", choices=("local", "slurm"), default="local", help="(default: local)")
    add("--profile", metavar="FILE", help="cluster profile, as for toolkit.launch")
    add("--shard", type=int, metavar="I", help="do this shard alone")


def _fetching(add: Any) -> None:
    add("--retry", action="store_true", help="first ask again for what failed for passing reasons")
    add("--block", metavar="FILE", help="URLs, SHA-256, MD5 and ids that are not to be fetched")
    add("--allow-private", action="store_true", help="also ask this machine and private networks")


def _listed(add: Any) -> None:
    add("--listed", required=True, metavar="FILE", help="ids, URLs, SHA-256 and MD5, one a line")


def _data(add: Any) -> None:
    add("--data", type=Path, help="folder of datasets (default: TOOLKIT_DATA, else ./data)")


def _overwrite(add: Any) -> None:
    add("--overwrite", action="store_true", help="replace the dataset if it is there")


def _sweep(add: Any) -> None:
    add("--sweep", type=float, nargs="+", default=[], metavar="T", help="show what thresholds would give, no more")


def _choice(add: Any) -> None:
    add("--classes", type=int, default=1000, metavar="N", help="how many (default: 1000)")
    add("--seed", type=int, default=0, help="of the draw (default: 0)")


OPTIONS: tuple[tuple[Callable[[Any], None], tuple[str, ...]], ...] = (
    (_changes, (*STAGES, "all")),
    (_sources_and_rule, ("match", "all")),
    (_dry_run, ("all",)),
    (_at_a_time, (*shards.SHARDED, "all")),
    (_executor, tuple(shards.SHARDED)),
    (_fetching, ("download",)),
    (_listed, ("takedown",)),
    (_data, ("write", "all", "takedown")),
    (_overwrite, ("write", "all")),
    (_sweep, ("select",)),
    (_choice, ("choose",)),
)
"""Options beside those that every stage has, and the stages that have them."""


def _stage(request: StageRequest) -> dict[str, Any]:
    build = _with_options(
        Build.open_or_create(request.build) if request.stage == "classes" else Build.open(request.build), request
    )
    if request.stage in shards.SHARDED:
        return _sharded(build, request)
    if request.stage == "select" and request.sweep:
        return {"sweep": shards.module("select").sweep(build, request.sweep)}
    return _write(build, request) if request.stage == "write" else _single(build, request.stage)


def _with_options(build: Build, request: StageRequest) -> Build:
    changes = parse_changes(build.options, request.stage, request.changes)
    options = build.options
    if request.stage == "match":
        options = with_rule(options, request.rule) if request.rule else options
        if request.source or not options.match.sources:
            changes["sources"] = _sources(request.source)
    if request.stage == "download":
        changes |= {"block": request.block} if request.block else {}
        changes |= {"allow_private": True} if request.allow_private else {}
    build = Build(build.path, changed(options, request.stage, changes))
    if request.stage in shards.SHARDED:
        build.check_fingerprint(request.stage)  # options that do not fit what is there are not kept
    return build.save(build.options)


def _sources(patterns: Sequence[str]) -> list[str]:
    return find_sources(patterns or [RELAION])


def _single(build: Build, stage: str) -> dict[str, Any]:
    """A stage of one step."""
    with Console(stderr=True).status(f"{stage} ..."):
        counts: Counts = shards.module(stage).run(build)
    build.finish(stage, "summary", counts)
    return {stage: counts} | (_empty(build) if stage == "classes" else {})


def _empty(build: Build) -> dict[str, list[str]]:
    """The classes that will stay empty."""
    return {"empty": shards.module("match").unfillable(shards.module("classes").load(build), build.options)}


def _write(build: Build, request: StageRequest) -> dict[str, Any]:
    return {"write": shards.module("write").run(build, data_root(request.data), request.overwrite)}


def _sharded(build: Build, request: StageRequest) -> dict[str, Any]:
    """A stage that works by shards: one of them, or those that are missing, here or on the cluster."""
    if request.jobs < 1:
        raise UsageError(f"--jobs is at least 1, not {request.jobs}")
    if request.stage == "download" and request.retry:
        shards.module("download").plan_again(build)
    if request.shard is not None:
        shards.run_shard(str(build.path), request.stage, request.shard)
        return _closed(build, request.stage)
    return _submit(build, request) if request.executor == "slurm" else _work(build, request.stage, request.jobs)


def _work(build: Build, stage: str, jobs: int) -> dict[str, Any]:
    """All missing shards and what closes the stage."""
    build.check_fingerprint(stage)
    _local(build, stage, jobs)
    return _closed(build, stage)


def _local(build: Build, stage: str, jobs: int) -> None:
    """All missing shards; of download, round after round."""
    shards.run_local(build, stage, shards.unfinished(build, stage), jobs)
    while stage == "download" and shards.module(stage).plan(build):
        shards.run_local(build, stage, shards.unfinished(build, stage), jobs)


def _submit(build: Build, request: StageRequest) -> dict[str, Any]:
    profile = load_profile(request.profile)
    if request.stage == "download":
        shards.module(request.stage).plan(build)
    missing = shards.unfinished(build, request.stage)
    if not missing:
        return _closed(build, request.stage)
    return {
        request.stage: {
            "submitted": shards.submit(build, request.stage, missing, profile, request.jobs),
            "shards": len(missing),
        }
    }


def _closed(build: Build, stage: str) -> dict[str, Any]:
    """The stage's counts; of clean, when all shards are there, the choice among all images."""
    if stage == "clean" and not shards.unfinished(build, stage):
        build.finish(stage, "summary", shards.module(stage).finish(build))
    return (_empty(build) if stage == "match" else {}) | {stage: shards.module("write").stage_counts(build, stage)}


def _all(request: StageRequest) -> dict[str, Any]:
    """Every stage; download and clean in turn until no class lacks images or no spares are left."""
    build = _all_options(request)
    if request.dry_run:
        return _projected(build)
    build = build.save(build.options)
    build.options.download.user_agent_header()  # not to be asked for it after hours
    document: dict[str, Any] = {}
    for stage in ("classes", "match", "score", "select"):
        document |= _work(build, stage, request.jobs) if stage in shards.SHARDED else _single(build, stage)
    more = True
    while more:
        document |= _work(build, "download", request.jobs) | _work(build, "clean", request.jobs)
        more = shards.module("download").plan(build)
    return document | _write(build, request)


def _all_options(request: StageRequest) -> Build:
    build = Build.open_or_create(request.build)
    options = with_rule(build.options, request.rule) if request.rule else build.options
    for setting in request.changes:
        stage, dot, rest = setting.partition(".")
        if not dot or stage not in STAGES:
            raise UsageError(f"all takes --set STAGE.KEY=VALUE with a stage of {', '.join(STAGES)}, not {setting!r}")
        options = changed(options, stage, parse_changes(options, stage, [rest]))
    is_new = request.source or not options.match.sources
    return Build(build.path, changed(options, "match", {"sources": _sources(request.source)} if is_new else {}))


def _projected(build: Build) -> dict[str, Any]:
    """What all stages would do; nothing is written."""
    from data_prep.imagenot.projection import project

    known = shards.module("classes").find(build.options.classes)
    return {"empty": shards.module("match").unfillable(known, build.options), **project(known, build.options)}


def _status(request: StageRequest) -> dict[str, Any]:
    """Finished shards and counts of every stage that has begun."""
    build = Build.open(request.build)
    document: dict[str, Any] = shards.module("write").funnel(build)
    for stage in document.keys() & set(shards.SHARDED):
        names, missing = shards.module(stage).shards(build), shards.unfinished(build, stage)
        document[stage] = {"shards": f"{len(names) - len(missing)} of {len(names)}", **document[stage]}
    return document


def _takedown(request: StageRequest) -> dict[str, Any]:
    """Remove images from the build; write the dataset anew, and name what else was made from it."""
    from data_prep.imagenot.takedown import made_from, take_down

    build, data = Build.open(request.build), data_root(request.data)
    document: dict[str, Any] = {"takedown": take_down(build, request.listed)}
    if (data / build.options.write.name).exists():
        document |= {"write": shards.module("write").run(build, data, overwrite=True)}
    else:
        document |= {"note": f"there is no {build.options.write.name} in {data}: write it anew where it lies"}
    parts = made_from(build.options.write.name, data)
    return document | ({"note": f"to be made anew, as parts of it: {', '.join(parts)}"} if parts else {})


def _choose(request: StageRequest) -> dict[str, Any]:
    return {"wnids": shards.module("select").choose_classes(Build.open(request.build), request.classes, request.seed)}


COMMANDS: dict[str, Callable[[StageRequest], dict[str, Any]]] = {
    "all": _all,
    "status": _status,
    "choose": _choose,
    "takedown": _takedown,
}


def _print(document: dict[str, Any]) -> None:
    """Counts as aligned lines; lists as lines of their own."""
    for stage, counts in document.items():
        if isinstance(counts, list):
            say("\n".join(map(_line, counts)), end="\n" if counts else "")
        else:
            say(f"{stage}: {_line(counts)}")


def _line(row: Any) -> str:
    if not isinstance(row, dict):
        return str(row)
    shown = {key: value if isinstance(value, str) else f"{value:,}" for key, value in row.items()}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in shown.items())


if __name__ == "__main__":
    run(main)
