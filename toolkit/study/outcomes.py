"""What results say, in a word: their states and reasons, remembered by each file's stamp: 100,000 are read once.

``results/`` stays the truth: what is remembered counts only while a file's inode, size and time of change are the same.
"""

import contextlib
import os
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import orjson

from toolkit.files import TEMPORARY, read_regular, write_atomic
from toolkit.study.result import Status


class Outcome(NamedTuple):
    """What of a result status and the next launch need to know."""

    state: Literal["done", "failed", "diverged", "damaged"]
    reason: str = ""
    """In one line."""
    host: str = ""
    """That the task ran on."""
    seconds: float = 0.0
    """That it took, all its runs together."""
    gpu_s: float = 0.0
    """GPU seconds of them: those of a pack are shared out."""


MEMORY = "outcomes.json"
FIELDS = len(Outcome._fields)
"""What an earlier version remembered had fewer: it is read again."""
WORTH = 500
"""New results from which on they are remembered: below, reading them again is cheaper."""


def read_outcome(path: str | Path) -> Outcome:
    """The outcome that a result file tells, read as plain JSON; ``damaged`` when it is none."""
    name = str(path).rpartition(os.sep)[2]
    try:
        document = orjson.loads(read_regular(path))
        status, failure = document["status"], document.get("failure") or {}
        provenance, seconds = document.get("provenance") or {}, float(document["timing"]["total_s"])
        gpus = (document.get("usage") or {}).get("gpus", 0)
        gpu_s = gpus * seconds / max(1, provenance.get("pack", 1))
        reason = " ".join(f"{failure['kind']}: {failure['message']}".split()) if failure else ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Outcome("damaged", f"{name} cannot be read as a result ({type(error).__name__}: {error})")
    if status not in get_args(Status) or f"{document.get('id')}.json" != name:
        return Outcome("damaged", f"{name} is no result of this task")
    return Outcome(status, reason, str(provenance.get("host", "")), seconds, gpu_s)


def outcomes(study: Path) -> dict[str, Outcome]:
    """The outcome of every file in the study's ``results/``, by task id. Costs a stat each, and a read if it is new."""
    known = _remembered(study / MEMORY)
    found: dict[str, tuple[list[int], Outcome]] = {}
    fresh = 0
    for entry in os.scandir(study / "results"):
        if not entry.name.endswith(".json") or entry.name.startswith(TEMPORARY):
            continue
        seen = entry.stat(follow_symlinks=False)
        stamp, task_id = [seen.st_ino, seen.st_size, seen.st_mtime_ns], entry.name[:-5]
        before = known.get(task_id)
        if before is None or before[0] != stamp:
            before = stamp, read_outcome(entry.path)
            fresh += 1
        found[task_id] = before
    if fresh >= WORTH:
        with contextlib.suppress(OSError):  # a reader may have no right to write: then it reads again next time
            write_atomic(study / MEMORY, orjson.dumps(found, default=tuple))
    return {task_id: outcome for task_id, (_, outcome) in found.items()}


def _remembered(path: Path) -> dict[str, tuple[list[int], Outcome]]:
    try:
        found = orjson.loads(read_regular(path))
        return {
            task_id: (stamp, Outcome(*outcome)) for task_id, (stamp, outcome) in found.items() if len(outcome) == FIELDS
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
