"""Runs a stage's shards: here, in a bounded pool of processes, or as one Slurm array.

    python -m data_prep.imagenot.shards BUILD/submissions/RECORD.json

is what an array element runs: the shards that the record lists under its index.
"""

import importlib
import multiprocessing
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import orjson

from data_prep.imagenot.build import Build, write
from toolkit.cli import complain, run
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from toolkit.executors.profile import Profile

SHARDED = ("match", "score", "download", "clean")
"""The stages that work by shards."""


def module(stage: str) -> ModuleType:
    """The module of a stage: ``run``, and ``shards`` where it works by shards."""
    return importlib.import_module(f"data_prep.imagenot.{stage}")


def run_shard(build: str, stage: str, index: int) -> None:
    """Do one shard of a stage, unless it is finished.

    Raises `UsageError` for an index beyond the stage's shards, and `ToolkitError` when the shard cannot be done.
    """
    opened = Build.open(build)
    names: list[str] = module(stage).shards(opened)
    if not 0 <= index < len(names):
        raise ToolkitError(f"{stage} has shards 0 to {len(names) - 1}, not {index}")
    opened.claim(stage)
    if not opened.is_finished(stage, names[index]):
        opened.remove_leftovers(stage, names[index])
        module(stage).run(opened, names[index])


def unfinished(build: Build, stage: str) -> list[int]:
    """Indices of the shards that are still to be done."""
    return [i for i, name in enumerate(module(stage).shards(build)) if not build.is_finished(stage, name)]


def run_local(build: Build, stage: str, indices: Sequence[int], jobs: int) -> None:
    """Do these shards, ``jobs`` at a time. A shard that fails does not stop the others.

    Raises `ToolkitError` with the first failure when all others are done.
    """
    from rich.console import Console
    from rich.progress import track

    outcomes = _pooled(build, stage, indices, jobs) if jobs > 1 else _in_turn(build, stage, indices)
    failures = [
        error
        for error in track(outcomes, f"{stage}: shards", total=len(indices), console=Console(stderr=True))
        if error is not None
    ]
    if failures:
        raise ToolkitError(f"{stage}: {len(failures)} of {len(indices)} shards failed; the first: {failures[0]}")


def _in_turn(build: Build, stage: str, indices: Iterable[int]) -> Iterator[ToolkitError | None]:
    for index in indices:
        try:
            run_shard(str(build.path), stage, index)
            yield None
        except ToolkitError as error:
            yield error


def _pooled(build: Build, stage: str, indices: Sequence[int], jobs: int) -> Iterator[ToolkitError | None]:
    os.environ["POLARS_MAX_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // jobs))  # the workers read it
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(indices)) or 1, mp_context=spawn) as pool:
        futures = [pool.submit(run_shard, str(build.path), stage, index) for index in indices]
        yield from map(_outcome, as_completed(futures))


def _outcome(future: "Future[None]") -> ToolkitError | None:
    try:
        future.result()
    except BrokenExecutor:
        return ToolkitError("a worker was killed (out of memory?); start again with fewer --jobs")
    except ToolkitError as error:
        return error
    return None


def submit(build: Build, stage: str, indices: Sequence[int], profile: "Profile", jobs: int) -> str:
    """Submit these shards as one array, of which ``jobs`` elements run at a time; returns the job's id.

    Raises `ToolkitError` with sbatch's words when it refuses, or while an earlier array of the stage is in the queue.
    """
    from submitit.core.utils import FailedJobError

    from toolkit.executors.queue import read_queue
    from toolkit.executors.slurm import array_size

    name = f"{build.fingerprint(stage)[:8]}-{stage}"
    if waiting := len(read_queue().get(name, {})):
        raise ToolkitError(f"{waiting} elements of {stage} are in the queue still (squeue --name {name}): let them end")
    elements = _dealt(indices, array_size())
    record = build.path.absolute() / "submissions" / f"{stage}-{len(indices)}-{indices[0]}.json"
    write(record, orjson.dumps({"build": str(build.path.absolute()), "stage": stage, "elements": elements}))
    executor = _executor(build, name, profile, jobs)
    executor.parameters["map_count"] = len(elements)
    python = profile.python or shlex.quote(sys.executable)
    try:
        job = executor._submit_command(f"{python} -u -m data_prep.imagenot.shards {shlex.quote(str(record))}")
    except FailedJobError as error:
        raise ToolkitError(f"sbatch refused the array: {' '.join(str(error).split())}") from error
    return str(job.job_id)


def _dealt(indices: Sequence[int], most: int) -> list[list[int]]:
    """Indices in at most so many hands, dealt in turn."""
    hands = min(most, len(indices))
    return [list(indices[i::hands]) for i in range(hands)]


def _executor(build: Build, name: str, profile: "Profile", jobs: int) -> Any:
    import submitit

    logs = build.path.absolute() / "logs"
    logs.mkdir(exist_ok=True)
    executor = submitit.SlurmExecutor(folder=logs)
    executor.update_parameters(
        job_name=name,
        partition=profile.partition,
        account=profile.account,
        qos=profile.qos,
        constraint=profile.constraint,
        exclude=profile.exclude,
        time=profile.time_min,
        mem=None if profile.memory_gb is None else f"{round(profile.memory_gb * 1024)}M",
        cpus_per_task=profile.cpus,
        gpus_per_node=profile.gpus or None,
        gres=profile.gres,
        array_parallelism=jobs,
        stderr_to_stdout=True,
        wckey=None,
        setup=list(profile.setup) or None,
        additional_parameters=dict(profile.sbatch) or None,
    )
    return executor


def main(argv: Sequence[str]) -> int:
    """Do the shards of one array element; a failed one does not stop the others."""
    record = orjson.loads(Path(argv[0]).read_bytes())
    shards = record["elements"][int(os.environ["SLURM_ARRAY_TASK_ID"])]
    failures = [error for error in _in_turn(Build.open(record["build"]), record["stage"], shards) if error is not None]
    for error in failures:
        complain(error)
    return 1 if failures else 0


if __name__ == "__main__":
    run(main)
