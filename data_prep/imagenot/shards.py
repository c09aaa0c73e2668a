"""Runs a stage's shards: here, in a bounded pool of processes, or as one Slurm array.

    python -m data_prep.imagenot.shards BUILD/submissions/RECORD.json

is what an array element runs: the shards that the record lists under its index.
"""

import importlib
import logging
import multiprocessing
import os
import threading
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from contextlib import closing, nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import orjson

from data_prep.imagenot.build import ORIGIN, Build, read_record, write
from data_prep.imagenot.outage import Outage
from data_prep.imagenot.shard_bar import shard_bar
from toolkit.cli import complain, run, say
from toolkit.cluster.array import JobArray, array_size
from toolkit.cluster.container import ENGINES, HOST, Container, check, contain
from toolkit.cluster.image_file import check_image
from toolkit.cluster.queue import read_queue
from toolkit.errors import ToolkitError, UsageError

if TYPE_CHECKING:
    from toolkit.cluster.profile import Profile

log = logging.getLogger(__name__)
SHARDED = {"match": "rows", "score": "captions", "download": "kB", "clean": "images"}
"""The stages that work by shards, and what each tells the bar that it has done."""
NEEDS = {
    "match": ("polars", "pyarrow", "fsspec"),
    "score": ("polars", "torch", "sentence_transformers"),
    "download": ("polars", "aiohttp", "protego", "cv2"),
    "clean": ("polars", "imagehash"),
}
"""The modules that an image must have for a stage."""
Outcomes = Generator["ToolkitError | None", None, None]
SPAWN = multiprocessing.get_context("spawn")
_through: Any = SimpleNamespace(value=0, get_lock=nullcontext)
"""How many units are done: a number that the workers of a pool share, or, without a pool, just a number."""


def advance(number: int) -> None:
    """So many rows, captions, kB or images are done: the bar shows the sum over all workers."""
    with _through.get_lock():
        _through.value += number


def module(stage: str) -> ModuleType:
    """The module of a stage: ``run``, and ``shards`` where it works by shards."""
    return importlib.import_module(f"data_prep.imagenot.stages.{stage}")


def run_shard(build: str, stage: str, index: int) -> None:
    """Do one shard of a stage, unless it is finished.

    Raises `UsageError` for an index beyond the stage's shards, and `ToolkitError` when the shard cannot be done.
    """
    opened = Build.open(build)
    names: list[str] = module(stage).shards(opened)
    if not 0 <= index < len(names):
        raise ToolkitError(f"{stage} has shards 0 to {len(names) - 1}, not {index}")
    opened.check_fingerprint(stage)
    if not opened.is_finished(stage, names[index]):
        opened.remove_leftovers(stage, names[index])
        module(stage).run(opened, names[index], advance)


def unfinished(build: Build, stage: str) -> list[int]:
    """Indices of the shards that are still to be done."""
    return [i for i, name in enumerate(module(stage).shards(build)) if not build.is_finished(stage, name)]


def run_local(build: Build, stage: str, indices: Sequence[int], jobs: int) -> None:
    """Do these shards, ``jobs`` at a time. A shard that fails does not stop the others, unless the network is down.

    Raises `ToolkitError` with the first failure when all others are done, `Outage` at once.
    """
    if not indices:
        return
    build.remove_leftovers(stage, ORIGIN)
    outcomes = _pooled(build, stage, indices, jobs) if jobs > 1 else _in_turn(build, stage, indices)
    _through.value = 0
    failures = []
    with closing(outcomes), shard_bar(stage, len(indices), SHARDED[stage], lambda: _through.value) as one_more:
        for error in outcomes:
            if isinstance(error, Outage):
                raise error
            if error is not None:
                failures.append(error)
            one_more()
    if failures:
        raise ToolkitError(f"{stage}: {len(failures)} of {len(indices)} shards failed; the first: {failures[0]}")


def _in_turn(build: Build, stage: str, indices: Iterable[int]) -> Outcomes:
    for index in indices:
        try:
            run_shard(str(build.path), stage, index)
            yield None
        except ToolkitError as error:
            yield error


def _pooled(build: Build, stage: str, indices: Sequence[int], jobs: int) -> Outcomes:
    global _through
    share = str(max(1, len(os.sched_getaffinity(0)) // jobs))
    os.environ.update(POLARS_MAX_THREADS=share, OMP_NUM_THREADS=share)  # the workers read them
    _through = SPAWN.Value("q", 0)
    with ProcessPoolExecutor(min(jobs, len(indices)), SPAWN, _begin, (_through,)) as pool:
        futures = [pool.submit(run_shard, str(build.path), stage, index) for index in indices]
        try:
            yield from map(_outcome, as_completed(futures))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # of an outage the others need not hear one by one


def _begin(through: Any) -> None:
    global _through
    _through = through
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Whatever killed the stage, its workers end too."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


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

    Raises `ToolkitError` with sbatch's words when it refuses, or while an earlier array of the stage is in the queue,
    and `UsageError` when the profile's image lacks what the stage needs.
    """
    name = f"{build.fingerprint(stage)[:8]}-{stage}"
    if waiting := len(read_queue().get(name, {})):
        raise ToolkitError(f"{waiting} elements of {stage} are in the queue still (squeue --name {name}): let them end")
    container = _container(build, stage, profile)
    elements = _dealt(indices, array_size())
    record = build.path.absolute() / "submissions" / f"{stage}-{len(indices)}-{indices[0]}.json"
    write(record, orjson.dumps({"build": str(build.path.absolute()), "stage": stage, "elements": elements}))
    logs = build.room("logs")
    logs.mkdir(exist_ok=True)
    command = ("-m", "data_prep.imagenot.shards", str(record))
    return JobArray(profile, container, name, logs, command, len(elements), jobs).submit()


def _container(build: Build, stage: str, profile: "Profile") -> Container:
    """The image's command line, after it was seen to have what the stage needs; without an image, none."""
    if profile.image is None:
        return HOST
    if profile.image.startswith(ENGINES):
        raise UsageError(f"image {profile.image}: Slurm runs Apptainer images (.sif); build one from containers/")
    container = contain(profile.image, build.folders(), profile, gpu=profile.asks_for_gpus)
    for difference in check(contain(profile.image, build.folders(), profile, gpu=False), profile.image, NEEDS[stage]):
        log.info("note: %s", difference)
    return container


def _dealt(indices: Sequence[int], most: int) -> list[list[int]]:
    """Indices in at most so many hands, dealt in turn."""
    hands = min(most, len(indices))
    return [list(indices[i::hands]) for i in range(hands)]


def main(argv: Sequence[str]) -> int:
    """Do the shards of one array element; a failed one does not stop the others."""
    from toolkit.training.provenance import host, image_digest

    check_image()
    record = read_record(Path(argv[0]))
    shards = record["elements"][int(os.environ["SLURM_ARRAY_TASK_ID"])]
    say(f"{record['stage']}: {len(shards)} shards on {host()}, image {image_digest()}")
    failures = [error for error in _in_turn(Build.open(record["build"]), record["stage"], shards) if error is not None]
    for error in failures:
        complain(error)
    return 1 if failures else 0


if __name__ == "__main__":
    run(main)
