"""Submission: what one launch handed to an executor, element by element."""

import fcntl
import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from toolkit.errors import ToolkitError
from toolkit.study.model import FrozenModel
from toolkit.study.progress import LOST_AFTER_S
from toolkit.study.study import Study

ExecutorName = Literal["slurm", "local", "debug"]


class Submission(FrozenModel):
    """The document ``submissions/NAME.json``. It is written before anything is queued, under the study's lock."""

    version: Literal[1] = 1
    name: str
    """Unique; also the Slurm job's name, so that the queue can be read even when sbatch's answer was lost."""
    executor: ExecutorName
    elements: tuple[tuple[str, ...], ...]
    """Task ids by array index (or by what a local worker takes at a time)."""
    pack: int = 1
    """Tasks side by side; 0: as many as measuring suggests."""
    data: str
    """Absolute path of the data root."""
    image: str | None = None
    gpus: bool = False
    """Whether its profile asked for GPUs."""
    job: str | None = None
    """Slurm's id of the array, once sbatch has answered."""
    host: str
    """Where the launcher ran."""
    pid: int
    created: float
    """Unix time in seconds."""
    cancelled: bool = False

    @property
    def tasks(self) -> list[str]:
        """Ids of all its tasks."""
        return [task_id for element in self.elements for task_id in element]


def new_submission(
    study: Study,
    executor: ExecutorName,
    elements: Sequence[Sequence[str]],
    data: Path,
    pack: int = 1,
    image: str | None = None,
    gpus: bool = False,
) -> Submission:
    """A submission of this process, not yet written."""
    label = "".join(c if c.isascii() and c.isalnum() else "-" for c in study.name)[:24]
    return Submission(
        name=f"{label}.{time.strftime('%y%m%d-%H%M%S')}.{secrets.token_hex(3)}",
        executor=executor,
        elements=tuple(tuple(element) for element in elements),
        pack=pack,
        data=str(data.absolute()),
        image=image,
        gpus=gpus,
        host=socket.gethostname(),
        pid=os.getpid(),
        created=time.time(),
    )


def record_path(study: Study, submission: Submission) -> Path:
    """``submissions/NAME.json``."""
    return study.room("submissions") / f"{submission.name}.json"


def submissions(study: Study) -> list[Submission]:
    """All submissions of a study, oldest first. Raises `ToolkitError` on a damaged record."""
    found = [Submission.read(path) for path in study.room("submissions").glob("[!.]*.json")]
    return sorted(found, key=lambda submission: submission.created)


def launcher_lives(study: Study, submission: Submission) -> bool:
    """Whether the process that made a local submission still runs: by its pid on this host, else by its heartbeat."""
    if submission.host == socket.gethostname():
        return process_lives(submission.pid)
    return time.time() - record_path(study, submission).stat().st_mtime < LOST_AFTER_S


def process_lives(pid: int) -> bool:
    """Whether a process with this id is on this machine (a zombie counts as gone)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def launch_lock(study: Study) -> Iterator[None]:
    """Hold the study's lock: between looking at the states and recording a submission nobody else does either.

    Raises `ToolkitError` when another launcher holds it for longer than a submission takes.
    """
    with (study.room("submissions") / ".lock").open("w") as file:
        deadline = time.monotonic() + 120
        while not _locked(file.fileno()):
            if time.monotonic() > deadline:
                raise ToolkitError(f"another launcher has held {file.name} for two minutes; try again when it is done")
            time.sleep(0.1)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
