"""Train a population of architectures on datasets: in a pool here, as Slurm array jobs, or in this process.

    python -m toolkit.launch --array 0-499 --dataset A B --study NAME
    python -m toolkit.launch --models torchvision/resnet18 timm/mobilenetv3_small_050 --executor local
    python -m toolkit.launch --study NAME                    # go on with what the study has declared
    python -m toolkit.launch --study NAME --retry failed     # and run failed tasks again
    python -m toolkit.launch --study NAME --cancel           # end it; what runs saves itself
    python -m toolkit.launch --array 0-499 --dataset A B --until verdict    # in waves, until every question is settled
    python -m toolkit.launch --array 0-499 --dataset A --halving 3     # find the three best nets, at a part of the cost
    python -m toolkit.launch --published tuggener2022 --dry-run    # what that whole study would cost

Launching is reconciliation: what is declared and has no result is submitted, unless it is in the queue already. All
settings are checked before anything is queued.
"""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from toolkit.cli import filled, hours, pack_size, parser, positive, print_json, run, say
from toolkit.errors import UsageError
from toolkit.launching.request import POPULATION, ExecutorName, LaunchRequest, Retry
from toolkit.ways import add_ways

if TYPE_CHECKING:
    from toolkit.launching.reconcile import Plan
    from toolkit.planning.request import WaveRequest


def main(argv: Sequence[str]) -> int:
    """Check everything, then show, run or submit."""
    given = _parser().parse_args(argv)
    if given.profile_help:
        from toolkit.cluster.profile import profile_help

        say(profile_help())
        return 0
    if given.rates and not given.dry_run:
        raise UsageError("--rates counts the hours of a preview: give --dry-run with it")
    request = filled(LaunchRequest, given)
    if given.published:
        return _show_published(given.published, request, given.dry_run, given.json)
    if goal := _goal(given):
        from toolkit.planning.request import WaveRequest

        waves = WaveRequest(request, goal, given.wave, given.max_nets, given.max_hours)
        return _in_waves(waves, given.dry_run, given.json)
    from toolkit.launching.reconcile import cancel, carry_out, make_plan
    from toolkit.render.states import PoolDisplay

    if given.cancel:
        return _tell_cancelled(cancel(request.study), given.json)
    plan = make_plan(request)
    if plan.study.halved:
        raise UsageError(
            f"study {plan.study.path} looks for the best net: give --halving and the same call again; to train all its "
            "nets to the end, remove halving.json there"
        )
    if given.dry_run:
        return _show(plan, given.json)
    document = carry_out(plan, PoolDisplay)
    if document["follows"]:
        from toolkit.planning.waves import launch_rest

        launch_rest(plan, request)
    elif plan.executor != "slurm" and document["to_run"]:
        from toolkit.launching.notice import notify

        notify(plan.study, plan.profile, document["states"])
    return _tell(document, given.json)


def _tell(document: Mapping[str, Any], as_json: bool) -> int:
    """How the launch went; the exit status."""
    if as_json:
        print_json(document)
    else:
        say(", ".join(f"{count} {state}" for state, count in document["states"].items()))
        over = document["states"].keys() <= {"done", "diverged"}
        say(f"see: python -m toolkit.{'report' if over else 'status'} {shlex.quote(document['study'])}")
    return int(document["failed_here"] > 0)


def _goal(given: argparse.Namespace) -> str | None:
    """What a launch in waves is to reach, as `WaveRequest` says it; None for a launch of all at once."""
    if given.halving is None:
        return str(given.until) if given.until else None
    if given.until:
        raise UsageError(
            "--halving finds the best net, --until settles correlations: the nets that halving leaves are no sample of "
            "the design space, and would bias them; give one"
        )
    if given.max_nets or given.max_hours:
        raise UsageError("--max-nets and --max-hours bound --until; --halving trains every net of --array at first")
    return f"best={given.halving}"


def _in_waves(request: "WaveRequest", dry_run: bool, as_json: bool) -> int:
    """Launch in waves."""
    from toolkit.planning.waves import make_waves, preview_wave, run_waves
    from toolkit.render.states import PoolDisplay

    waves = make_waves(request)
    document = preview_wave(waves) if dry_run else run_waves(waves, PoolDisplay)
    if as_json or dry_run:
        print_json(document)
        return 0
    from toolkit.render.terminal import console, show

    item = waves.next().standing
    show(console(), item.title, item.frame, note=item.note)
    if document["waiting_for"]:
        say(f"waiting for: {document['waiting_for']}")
    return int(document["failed_here"] > 0)


def _show(plan: "Plan", as_json: bool) -> int:
    from toolkit.launching.reconcile import preview

    document: dict[str, Any] = preview(plan)
    if as_json:
        print_json(document)
        return 0
    script = document.pop("script", "")
    _say_lines(document)
    say(f"\n{script}" if script else "", end="")
    return 0


def _say_lines(document: Mapping[str, Any]) -> None:
    untold = {"gpu_hours": "not told: sampled nets were measured, on images of a certain size at most"}
    for key, value in document.items():
        say(f"{key.replace('_', ' ') + ':':13}{untold[key] if key in untold and value is None else value}")


def _show_published(name: str, request: LaunchRequest, dry_run: bool, as_json: bool) -> int:
    from toolkit.launching.published_cost import published_cost

    if not dry_run:
        raise UsageError("--published tells what a study would cost: give --dry-run with it; to train, name --dataset")
    document = published_cost(name, request)
    if as_json:
        print_json(document)
        return 0
    rows = document.pop("datasets")
    _say_lines(document)
    say(f"\n{'dataset':14}{'images':>10}{'epochs':>8}{'images seen':>16}{'multiply-adds':>15}{'hours':>12}")
    for name, row in rows.items():
        counts = f"{row['train']:>10,}{row['epochs']:>8}{row['images']:>16,}{row['flops']:>15.2e}{row['hours']:>12,.1f}"
        say(f"{name:14}{counts}")
    return 0


def _tell_cancelled(document: Mapping[str, Any], as_json: bool) -> int:
    if as_json:
        print_json(document)
    else:
        say(f"cancelled: {', '.join(document['jobs'] or document['cancelled']) or 'nothing was queued or running'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    p = parser("toolkit.launch", __doc__)
    _what(p.add_argument_group("what to train"))
    _when(p.add_argument_group("when to stop: in waves, by a rule that is frozen first"))
    _how(p.add_argument_group("how to run it"))
    p.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return p


def _what(what: argparse._ArgumentGroup) -> None:
    what.add_argument("--array", metavar="RANGES", help="nets of the population, such as 0-499 or 0-7,12")
    what.add_argument(
        "--population",
        default=POPULATION,
        metavar="NAME",
        help="what --array counts (%(default)s), or a file; another one without --array is meant as a whole",
    )
    what.add_argument(
        "--models",
        nargs="+",
        default=[],
        metavar="NAME",
        help="named models ('timm/resnet18?drop_path_rate=0.1'), ./mynets.py:Net, or a whole population (a file, too)",
    )
    what.add_argument("--dataset", nargs="+", default=[], metavar="NAME", help="folders in the data root (the demo's)")
    what.add_argument("--data", metavar="DIR", help="data root (TOOLKIT_DATA, or ./data)")
    what.add_argument("--seeds", metavar="RANGES", help="such as 0-2 (0)")
    what.add_argument("--recipe", metavar="NAME", help="shipped recipe or TOML file (quick, for a first look)")
    what.add_argument(
        "--set", nargs="+", default=[], dest="changes", metavar="FIELD=VALUE", help="fields of the recipe to change"
    )
    what.add_argument(
        "--init-from",
        metavar="DATASET",
        help="start from the same nets trained on it in this study; or 'pretrained', or a file of weights",
    )
    what.add_argument(
        "--published", metavar="STUDY", help="cost of a shipped study on its own datasets (with --dry-run)"
    )
    what.add_argument("--study", default="study", metavar="NAME", help="folder runs/NAME, or a path (%(default)s)")


def _when(when: argparse._ArgumentGroup) -> None:
    when.add_argument("--until", metavar="GOAL", help="verdict, verdict=CHANCE (give up below it) or width=W")
    when.add_argument("--max-nets", type=positive, metavar="N", help="most nets of any dataset (all of them)")
    when.add_argument("--max-hours", type=positive, metavar="H", help="estimated hours (as --dry-run counts them)")
    when.add_argument("--wave", type=positive, default=16, metavar="N", help="nets of the first wave (%(default)s)")
    when.add_argument(
        "--halving",
        nargs="?",
        const=1,
        type=positive,
        metavar="K",
        help="find the K best nets (1): weak ones stop early",
    )


def _how(how: argparse._ArgumentGroup) -> None:
    how.add_argument("--executor", choices=get_args(ExecutorName), help="slurm where sbatch is, else local")
    how.add_argument("--jobs", type=positive, metavar="N", help="local: workers (one a GPU, else one a core)")
    how.add_argument(
        "--per-job", type=positive, metavar="N", help="tasks of an array element or worker (1, or K, a GPU)"
    )
    how.add_argument(
        "--pack", type=pack_size, metavar="K", help="tasks trained side by side on one loader (1), or auto"
    )
    add_ways(how)
    how.add_argument("--profile", metavar="FILE", help="slurm: cluster profile; examples in slurm/profiles/")
    how.add_argument(
        "--image", metavar="SIF", help="run each task in this image (docker:NAME or podman:NAME: local; '': none)"
    )
    how.add_argument("--on-oom", metavar="1.5x2", help="out of memory: again with 1.5 times memory_gb, at most twice")
    how.add_argument("--on-timeout", metavar="2x1", help="time limit: again with twice time_min, at most once")
    how.add_argument("--max-gpu-hours", type=hours, metavar="H", help="submit no more than the study may take in all")
    how.add_argument("--profile-help", action="store_true", help="list the keys of a profile")
    how.add_argument(
        "--retry",
        nargs="+",
        default=[],
        choices=get_args(Retry),
        help="run finished tasks of this kind again; nodes: use those again on which elements ended early",
    )
    how.add_argument("--cancel", action="store_true", help="take the study's jobs out of the queue, end its local runs")
    how.add_argument("--dry-run", action="store_true", help="show the plan and the sbatch script, do nothing")
    how.add_argument(
        "--rates", metavar="DIR", help="with --dry-run: GPU hours by what toolkit.bench gpu --out DIR measured"
    )


if __name__ == "__main__":
    run(main)
