"""What results say, in a word: their states and reasons, remembered by each file's stamp: 100,000 are read once.

``results/`` stays the truth: what is remembered counts only while a file's inode, size and time of change are the same.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import orjson

from toolkit.files import TEMPORARY, opened_folder, read_regular, uncollected
from toolkit.study.remembered import NONSENSE, recall, remember
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
WORTH = 500
"""New results from which on they are remembered: below, reading them again is cheaper."""


STATES = frozenset(get_args(Status))


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
    if status not in STATES or f"{document.get('id')}.json" != name:
        return Outcome("damaged", f"{name} is no result of this task")
    return Outcome(status, reason, str(provenance.get("host", "")), seconds, gpu_s)


@uncollected()
def outcomes(study: Path) -> dict[str, Outcome]:
    """The outcome of every file in the study's ``results/``, by task id. Costs a stat each, and a read if it is new."""
    try:
        return _outcomes(study, recall(study / MEMORY))
    except NONSENSE:
        return _outcomes(study, {})


def _outcomes(study: Path, known: Mapping[str, Sequence[Any]]) -> dict[str, Outcome]:
    """``known``: outcomes as JSON has them, by id and stamp in one text: fewer objects, and so less time.

    The folder is opened anew each time: then an NFS client asks the server whether it has changed (close-to-open
    consistency, nfs(5)), while the question whether one file is there may be answered from a minute ago.
    """
    found, told, fresh, results = dict[str, Sequence[Any]](), dict[str, Outcome](), 0, study / "results"
    with opened_folder(results) as descriptor, os.scandir(descriptor) as entries:
        for entry in entries:
            name = entry.name
            if not name.endswith(".json") or name.startswith(TEMPORARY):
                continue
            seen, task_id = entry.stat(follow_symlinks=False), name[:-5]
            key = f"{task_id} {seen.st_ino} {seen.st_size} {seen.st_mtime_ns}"
            if (outcome := known.get(key)) is None:
                outcome = read_outcome(results / name)
                fresh += 1
            found[key], told[task_id] = outcome, Outcome._make(outcome)
    if fresh >= WORTH:
        remember(study / MEMORY, found)
    return told
