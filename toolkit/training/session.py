"""Tasks one after another, or in packs, in one process that keeps its loaders and threads warm."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal

import torch

from toolkit.anynet import Texts, architecture
from toolkit.anynet.architectures import NO_TEXTS
from toolkit.errors import ToolkitError
from toolkit.imagefile.reader import Beton
from toolkit.study.dataset import Dataset, find_dataset
from toolkit.study.study import Study
from toolkit.study.task import Task
from toolkit.training import device
from toolkit.training.fused import check_triton
from toolkit.training.graphs import cuda_graph
from toolkit.training.heartbeat import Heartbeat
from toolkit.training.loader import Loader, Pool, pageable
from toolkit.training.meter import Meter
from toolkit.training.pack import Pack
from toolkit.training.pack_context import PackContext
from toolkit.training.process_group import Membership, ProcessGroup
from toolkit.training.record import failed_result
from toolkit.training.schedule import resolution_at
from toolkit.training.sizing import free_memory, measure, pack_size
from toolkit.training.stop import StopFlag
from toolkit.training.trial import note
from toolkit.ways import Way, check_ways


class Session:
    """What tasks of one study share in this process: device, decoding threads, open datasets, heartbeat."""

    def __init__(
        self,
        study: Study,
        data: Path,
        workers: int,
        stop: StopFlag,
        on_corrupt: Literal["fail", "skip"] = "fail",
        membership: Membership | None = None,
        pause: int | None = None,
        ways: Sequence[Way] = (),
    ) -> None:
        self.study, self.data, self.stop, self.on_corrupt, self.pause = study, data, stop, on_corrupt, pause
        self.device = device.choose(membership.rank if membership else 0)
        check_ways(ways, int(self.device.type == "cuda"))
        if "fused-norm" in ways:
            check_triton(self.device)
        self.record, self.ways = cuda_graph if "cuda-graphs" in ways else None, tuple(ways)
        self.team = ProcessGroup(self.device, membership)
        self.pool, self._allocate = Pool(workers), device.pinned if "pinned-batches" in ways else pageable
        self.heartbeat = Heartbeat(study, silent=not self.team.is_main)
        self.preempted: list[str] = []
        self.texts = study.texts()
        self._places: dict[str, PackContext] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "Session":
        self._stack.enter_context(self.heartbeat)
        self._stack.callback(self.team.close)
        self._stack.callback(self.pool.close)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, at)

    def run(self, tasks: Iterable[Task], pack: int) -> None:
        """Train every task, in packs of up to ``pack`` (0: as many as measuring the first net of each kind suggests).

        What was stopped is in ``preempted`` then, the rest has its result. Raises `ToolkitError` when results cannot
        be written.
        """
        for company in group_packable((task for task in tasks if self._known(task)), self.texts):
            waiting = deque(in_packs(company, pack or self._suggested(company)))
            while waiting:
                group = waiting.popleft()
                if self.team.any(self.stop):
                    self.preempted += [task.id for task in group]
                else:
                    waiting.extendleft([postponed] for postponed in reversed(self._run_pack(group)))

    def _suggested(self, tasks: Sequence[Task]) -> int:
        """A pack's size; 1 where measuring fails: the task itself will tell why."""
        try:
            size = pack_size(measure(self._place(tasks[0]), tasks[0]), free_memory(self.device))
        except Exception:  # whatever a net's code raises
            return 1
        note(tasks[0], f"packs of {size}, as measured on this net")
        return size

    def _run_pack(self, tasks: Sequence[Task]) -> list[Task]:
        started = time.time()
        try:
            place = self._place(tasks[0])
        except ToolkitError as error:
            for task in tasks:
                self._fail(task, error, started)
            return []
        self.heartbeat.meter = Meter(torch.cuda.device_count() if self.device.type == "cuda" else 0)
        pack = Pack(place, tasks)
        pack.run()
        self.preempted += pack.roster.preempted
        return pack.roster.postponed

    def _known(self, task: Task) -> bool:
        try:
            architecture(task.architecture, self.texts)
        except ToolkitError as error:
            self._fail(task, error, time.time())
            return False
        return True

    def _fail(self, task: Task, error: ToolkitError, started: float) -> None:
        if not self.team.is_main:
            return
        result = failed_result(task, None, error, device=device.describe(self.device), started=started)
        result.write(self.study.result_path(task.id))
        note(task, f"failed, {error}")

    def _place(self, task: Task) -> PackContext:
        """The task's dataset, open; opened once. Raises `ToolkitError` when it is not what the task was declared on."""
        if task.dataset not in self._places:
            dataset = find_dataset(task.dataset, self.data)
            losable = dataset.manifest.losable("train") if self.on_corrupt == "skip" else None
            train = Loader(opened(dataset, "train"), self.pool, losable, allocate=self._allocate)
            # not losable: an error over a part of the set is another quantity
            val = Loader(opened(dataset, "val"), self.pool, allocate=self._allocate)
            self._places[task.dataset] = PackContext(
                self.study,
                dataset.manifest,
                train,
                val,
                self.team,
                self.stop,
                self.heartbeat,
                self.texts,
                pause=self.pause,
                record=self.record,
                ways=self.ways,
            )
        place = self._places[task.dataset]
        task.check_dataset(Dataset(self.data / task.dataset, place.manifest))
        return place


def opened(dataset: Dataset, split: str) -> Beton:
    """A split's file. Raises `ToolkitError` when it holds other samples than the manifest says."""
    beton = Beton.open(dataset.beton(split))
    declared, classes = dataset.manifest.splits[split].samples, len(dataset.manifest.classes)
    if len(beton) != declared:
        raise ToolkitError(f"{beton.path} holds {len(beton)} samples, its manifest says {declared}; write it again")
    low, high = int(beton.labels.min()), int(beton.labels.max())
    if low < 0 or high >= classes:
        raise ToolkitError(f"{beton.path} has labels {low} to {high}, its manifest {classes} classes; write it again")
    return beton


def group_packable(tasks: Iterable[Task], texts: Texts = NO_TEXTS) -> list[list[Task]]:
    """``tasks`` by what a pack shares: dataset, recipe, seed and input size; in the order of their first."""
    groups: dict[tuple[str, str, str, int, tuple[int, ...]], list[Task]] = {}
    for task in tasks:
        groups.setdefault(_packing_key(task, texts), []).append(task)
    return list(groups.values())


def in_packs(tasks: Sequence[Task], size: int) -> list[list[Task]]:
    """``tasks`` cut into packs of at most ``size``."""
    return [list(tasks[start : start + size]) for start in range(0, len(tasks), size)]


def _packing_key(task: Task, texts: Texts) -> tuple[str, str, str, int, tuple[int, ...]]:
    recipe, net = task.recipe, architecture(task.architecture, texts)
    seen = {resolution_at(recipe, epoch) for epoch in range(recipe.epochs)} | {recipe.resolution_at_evaluation}
    sides = tuple(net.input_size(resolution) for resolution in sorted(seen))
    return task.dataset, task.dataset_hash, recipe.model_dump_json(), task.seed, sides
