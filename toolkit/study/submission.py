"""Submission: what one launch handed to an executor, element by element."""

import errno
import fcntl
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from toolkit.errors import ToolkitError
from toolkit.files import open_own, read_regular, stamp
from toolkit.study.model import FrozenModel
from toolkit.study.progress import LOST_AFTER_S
from toolkit.study.study import Study
from toolkit.study.task import TaskId
from toolkit.ways import Way

ExecutorName = Literal["slurm", "local", "debug"]


class Rises(NamedTuple):
    """How often memory and time were raised for some tasks (``--on-oom``, ``--on-timeout``)."""

    oom: int = 0
    timeout: int = 0


NONE_YET = Rises()


class Manner(NamedTuple):
    """How the tasks of a submission are trained."""

    pack: int = 1
    """Tasks side by side; 0: as many as measuring suggests."""
    ways: tuple[Way, ...] = ()
    """What its GPUs do other than PyTorch's own."""
    pause: int | None = None
    """Epochs after which tasks are saved and left (a rung of ``--halving``); None: they are trained to the end."""


ONE_BY_ONE = Manner()


class Submission(FrozenModel):
    """The document ``submissions/NAME.json``. It is written before anything is queued, under the study's lock."""

    version: Literal[1] = 1
    name: str = Field(pattern=r"^[^./\x00][^/\x00]*$")
    """Unique; also the Slurm job's name, so that the queue can be read even when sbatch's answer was lost."""
    executor: ExecutorName
    elements: tuple[tuple[TaskId, ...], ...]
    """Task ids by array index (or by what a local worker takes at a time)."""
    pack: int = 1
    ways: tuple[Way, ...] = ()
    pause: int | None = None
    """These three: see `Manner`."""
    data: str
    """Absolute path of the data root."""
    image: str | None = None
    gpus: bool = False
    """Whether its profile asked for GPUs."""
    memory_gb: float | None = None
    """Memory that each of its elements was given; None: the cluster's default, or no Slurm."""
    time_min: int | None = None
    """Their time limit."""
    rises: Rises = NONE_YET
    """What of that was raised for these tasks."""
    code: str | None = None
    """Digest of the code that its elements run, or refuse to run without (`toolkit.executors.code`)."""
    job: str | None = Field(None, pattern=r"^[0-9]+$")
    """Slurm's id of the array, once sbatch has answered."""
    host: str
    """Where the launcher ran."""
    pid: int
    began: str | None = None
    """When that process began (`process_began`); a later process of the same pid has another. None: not recorded."""
    created: float
    """Unix time in seconds, by `Study.clock`."""
    cancelled: bool = False

    @property
    def manner(self) -> Manner:
        """How its tasks are trained."""
        return Manner(self.pack, self.ways, self.pause)

    @property
    def tasks(self) -> list[str]:
        """Ids of all its tasks."""
        return [task_id for element in self.elements for task_id in element]


def new_submission(
    study: Study,
    executor: ExecutorName,
    elements: Sequence[Sequence[str]],
    data: Path,
    manner: Manner = ONE_BY_ONE,
    image: str | None = None,
    gpus: bool = False,
) -> Submission:
    """A submission of this process, not yet written."""
    label = "".join(c if c.isascii() and c.isalnum() else "-" for c in study.name)[:24]
    return Submission(
        name=f"{label}.{time.strftime('%y%m%d-%H%M%S')}.{secrets.token_hex(3)}",
        executor=executor,
        elements=tuple(tuple(element) for element in elements),
        **manner._asdict(),
        data=str(data.absolute()),
        image=image,
        gpus=gpus,
        host=socket.gethostname(),
        pid=os.getpid(),
        began=process_began(os.getpid()),
        created=study.clock(),
    )


def record_path(study: Study, submission: Submission) -> Path:
    """``submissions/NAME.json``."""
    return study.room("submissions") / f"{submission.name}.json"


def submissions(study: Study) -> list[Submission]:
    """All submissions of a study, oldest first. Raises `ToolkitError` on a damaged record."""
    found = [_read_record(path, stamp(path)) for path in study.room("submissions").glob("[!.]*.json")]
    return sorted(found, key=lambda submission: submission.created)


@lru_cache(maxsize=1024)
def _read_record(path: Path, _stamp: object) -> Submission:
    """One is read once by a process, as long as it stays as it is."""
    submission = Submission.read(path)
    if submission.name != path.stem:
        raise ToolkitError(f"{path} is the record of {submission.name}: a copy under another name; delete it")
    return submission


def launcher_lives(study: Study, submission: Submission) -> bool:
    """Whether the process that made a local submission still runs: by its pid on this host, else by its heartbeat."""
    if submission.host == socket.gethostname():
        lives = process_lives(submission.pid)
        return lives and submission.began in (None, process_began(submission.pid))
    return study.clock() - record_path(study, submission).stat().st_mtime < LOST_AFTER_S


def process_began(pid: int) -> str | None:
    """The boot's id and the clock ticks after it at which a process of this machine began; None when it is gone."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{ticks}"
    except OSError:
        return None


def end_launcher(study: Study, submission: Submission) -> None:
    """Send SIGTERM to the process that made a local submission.

    Raises `ToolkitError` unless that very process runs (not another one that has got its pid since), and belongs to
    the user who wrote the record: others may be able to write to the study's folder.
    """
    path, by_hand = record_path(study, submission), f"end process {submission.pid} by hand if it is the launcher"
    if submission.began is None:
        raise ToolkitError(f"{path} does not say when its process began (an earlier version's): {by_hand}")
    handle = os.pidfd_open(submission.pid)
    try:
        if process_began(submission.pid) != submission.began:
            raise ToolkitError(f"process {submission.pid} is not the one that wrote {path}: nothing was ended")
        if path.lstat().st_uid != Path(f"/proc/{submission.pid}").stat().st_uid:
            raise ToolkitError(f"{path} was not written by the owner of process {submission.pid}: {by_hand}")
        signal.pidfd_send_signal(handle, signal.SIGTERM)
    finally:
        os.close(handle)


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
    path = study.room("submissions") / ".lock"
    try:
        descriptor = open_own(path, os.O_RDWR)
    except OSError as error:
        raise ToolkitError(f"{path} cannot be opened ({error.strerror}); if it is a link, remove it") from error
    held = path.with_name(".lock.held")
    try:
        flocks = _wait_for(path, lambda: _locked(descriptor)) or not _wait_for(held, lambda: _created(held))
        try:
            yield
        finally:
            if not flocks:
                held.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _wait_for(path: Path, take: Callable[[], bool | None]) -> bool:
    """Whether the lock was taken; False when the file system has no locks of this kind. Raises `ToolkitError`."""
    deadline = time.monotonic() + 120
    while not (taken := take()):
        if taken is None:
            return False
        if time.monotonic() > deadline:
            raise ToolkitError(
                f"another launcher has held {path} for two minutes; try again when it is done (if none runs, remove it)"
            )
        time.sleep(0.1)
    return True


def _locked(descriptor: int) -> bool | None:
    """None: this file system knows no flock (some Lustre and NFS mounts)."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL):
            return None
        raise
    return True


def _created(held: Path) -> bool:
    """A lock where there is no flock: whoever makes the file has it; what a process of this machine left is removed."""
    mine = f"{socket.gethostname()} {os.getpid()} {process_began(os.getpid())}"
    try:
        descriptor = os.open(held, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        host, pid, began = [*_words(held), "", "", ""][:3]
        if host == socket.gethostname() and pid.isdigit() and process_began(int(pid)) != began:
            held.unlink(missing_ok=True)
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(mine)
    return True


def _words(path: Path) -> list[str]:
    try:
        return read_regular(path).decode(errors="replace").split()
    except OSError:
        return []
