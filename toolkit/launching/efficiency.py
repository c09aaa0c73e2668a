"""What tasks used of what was asked for them, by dataset, and the profile that would have done."""

from collections import defaultdict
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from toolkit.files import read_regular
from toolkit.study import Study
from toolkit.study.submission import submissions
from toolkit.study.usage import Usage

SPARE = 1.25
"""What a proposal adds to the most memory that was seen: it was sampled. Our choice."""
SPARE_TIME = 1.5
"""What it adds to the longest time: another node may be slower. Our choice."""
SHORTEST_MIN = 10
"""Minutes below which no time limit is proposed: start and last checkpoint need some. Our choice."""
IMPOSSIBLE = 1e12
"""Seconds, GB or watts that nothing uses: who says so tells nothing. Our choice."""
IDLE_GPU = 0.5
"""Below this share of time in which kernels ran, packs are proposed. Our choice."""


class Used(NamedTuple):
    """Of one task, as `toolkit.study.usage.Usage` defines it."""

    column: str
    total_s: float
    pack: int
    usage: Usage

    @property
    def joules(self) -> float | None:
        """Of its GPUs; a pack's are shared out."""
        watts = self.usage.gpu_watts
        return None if watts is None else watts * self.usage.seconds / self.pack


class Efficiency(NamedTuple):
    """Of a study."""

    rows: list[dict[str, Any]]
    """One for each dataset and each asking; shares are 0..1, memory GB, energy joules."""
    silent: int
    """Results that tell nothing of it: an earlier version's, or of nets that never began."""
    proposal: list[str]
    """Lines of a profile."""

    @classmethod
    def of(cls, study: Study) -> "Efficiency":
        """Read all results; a file that is none is left to `toolkit.status`."""
        names = [study.result_path(task_id) for task_id in sorted(study.finished())]
        found = [used for path in names if (used := _read(path))]
        groups: dict[tuple[str, int, float | None, int], list[Used]] = defaultdict(list)
        for used in found:
            groups[used.column, used.usage.cpus, used.usage.memory_asked_gb, used.usage.gpus].append(used)
        rows = [_row(*key, group=group) for key, group in groups.items()]
        return cls(rows, len(names) - len(found), list(_proposal(study, found)))

    def document(self) -> dict[str, Any]:
        """The JSON document of ``status --efficiency --json``."""
        return {"efficiency": self.rows, "without_usage": self.silent, "proposal": self.proposal}


def _read(path: Path) -> Used | None:
    try:
        document = orjson.loads(read_regular(path))
        task, pack = document["task"], document["provenance"].get("pack", 1)
        start = task.get("start")
        column = f"{task['dataset']}<-{start['dataset']}" if start else str(task["dataset"])
        usage = Usage.model_validate(document["usage"])
        used = Used(column, float(document["timing"]["total_s"]), int(pack), usage)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
        return None
    numbers = [used.total_s, used.pack - 1, *(value for _, value in usage if value is not None)]
    return used if all(0 <= value < IMPOSSIBLE for value in numbers) else None


def _row(column: str, cpus: int, memory: float | None, gpus: int, group: list[Used]) -> dict[str, Any]:
    every = [used.usage for used in group]
    most = max(usage.memory_gb for usage in every)
    joules = [j for used in group if (j := used.joules) is not None]
    looked = [(usage.gpu_use, usage.seconds) for usage in every if usage.gpu_use is not None]
    return {
        "dataset": column,
        "tasks": len(group),
        "cpus": cpus,
        "cpu_use": _share(sum(u.cpu_s for u in every), sum(u.seconds * u.cpus for u in every)),
        "memory_gb": memory,
        "memory_most_gb": round(most, 3),
        "memory_use": _share(most, memory or 0.0),
        "gpus": gpus,
        "gpu_use": _share(sum(use * time for use, time in looked), sum(time for _, time in looked)),
        "gpu_memory_most_gb": max((u.gpu_memory_gb for u in every if u.gpu_memory_gb is not None), default=None),
        "gpu_joules": round(sum(joules)) if joules else None,
        "longest_s": round(max(used.total_s for used in group), 1),
    }


def _share(used: float, asked: float) -> float | None:
    return round(used / asked, 4) if asked else None


def _proposal(study: Study, found: list[Used]) -> Iterator[str]:
    """What the busiest and the longest task would have needed, with some to spare."""
    if not found:
        return
    cores = max((used.usage.cpu_s / used.usage.seconds for used in found if used.usage.seconds), default=0.0)
    most = max(used.usage.memory_gb for used in found)
    longest = max(used.total_s / used.pack for used in found)
    tasks = max((len(element) for s in submissions(study) for element in s.elements), default=1)
    yield f"cpus = {max(1, ceil(cores - 0.1))}  # the busiest task kept {cores:.1f} cores busy"
    yield f"memory_gb = {max(1, ceil(2 * SPARE * most) / 2):g}  # the most seen was {most:.2f}"
    minutes = max(SHORTEST_MIN, ceil(SPARE_TIME * longest * tasks / 60))
    yield f"time_min = {minutes}  # {tasks} tasks an element, the longest took {longest:.0f} s"
    idle = [u.usage.gpu_use for u in found if u.usage.gpu_use is not None]
    if idle and (use := sum(idle) / len(idle)) < IDLE_GPU:
        yield f"# the GPUs were busy for {use:.0%} of the time: launch with --pack auto"
