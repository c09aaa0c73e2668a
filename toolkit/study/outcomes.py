"""What results say, in a word: their states and reasons, remembered by each file's stamp: 100,000 are read once.

``results/`` stays the truth: what is remembered counts only while a file's inode, size and time of change are the same.
"""

import contextlib
import os
from pathlib import Path
from typing import Literal, get_args

import orjson

from toolkit.files import TEMPORARY, read_regular, write_atomic
from toolkit.study.result import Status

Outcome = tuple[Literal["done", "failed", "diverged", "damaged"], str, str]
"""State, reason in one line, and the host that the task ran on."""
MEMORY = "outcomes.json"
WORTH = 500
"""New results from which on they are remembered: below, reading them again is cheaper."""


def read_outcome(path: str | Path) -> Outcome:
    """Status and reason of a result file, read as plain JSON; ``damaged`` when it is none."""
    name = str(path).rpartition(os.sep)[2]
    try:
        document = orjson.loads(read_regular(path))
        status, failure = document["status"], document.get("failure") or {}
        host = str((document.get("provenance") or {}).get("host", ""))
        reason = " ".join(f"{failure['kind']}: {failure['message']}".split()) if failure else ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return "damaged", f"{name} cannot be read as a result ({type(error).__name__}: {error})", ""
    if status not in get_args(Status) or f"{document.get('id')}.json" != name:
        return "damaged", f"{name} is no result of this task", ""
    return status, reason, host


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
            write_atomic(study / MEMORY, orjson.dumps(found))
    return {task_id: outcome for task_id, (_, outcome) in found.items()}


def _remembered(path: Path) -> dict[str, tuple[list[int], Outcome]]:
    try:
        found = orjson.loads(read_regular(path))
        return {task_id: (stamp, (state, reason, host)) for task_id, (stamp, (state, reason, host)) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
