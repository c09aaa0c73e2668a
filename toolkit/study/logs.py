"""What a task printed, found in the logs of the element or worker that ran it."""

import re
from collections.abc import Iterator
from pathlib import Path

from toolkit.files import read_end
from toolkit.study.study import Study
from toolkit.study.submission import Submission, submissions

LARGEST_LOG = 256 << 20
"""Bytes of a log's end that are looked through (our choice)."""
TASK_LINE = re.compile(r"[0-9a-f]{16} ")
SLURM_LINE = re.compile(r"(slurmstepd|srun)\b")
"""What Slurm says of the whole element."""


def log_files(study: Study, task_id: str) -> list[Path]:
    """Logs of all submissions that had this task, oldest first; those of one submission's workers together."""
    return [
        path
        for submission in submissions(study)
        for path in _files(study, submission, task_id)
        if task_id in submission.tasks and path.is_file()
    ]


def task_log(study: Study, task_id: str) -> str:
    """The lines of this task, attempt after attempt; where it printed none, the end of what ran it."""
    files = log_files(study, task_id)
    own = [line for path in files for line in _own_lines(path, task_id)]
    if own or not files:
        return "\n".join(own)
    return f"(nothing from this task; the end of {files[-1]}:)\n" + "\n".join(_read(files[-1])[-30:])


def last_words(study: Study, task_id: str) -> list[str]:
    """The lines of this task; where it printed none, those that are no other task's either."""
    files = log_files(study, task_id)
    own = [line for path in files for line in _own_lines(path, task_id)]
    return own or [line for path in files for line in _nobodys_lines(path)]


def _nobodys_lines(path: Path) -> Iterator[str]:
    """What stands before the first task's line, and what Slurm says after it."""
    begun = False
    for line in _read(path):
        begun = begun or TASK_LINE.match(line) is not None
        if not begun or SLURM_LINE.match(line):
            yield line


def _files(study: Study, submission: Submission, task_id: str) -> list[Path]:
    logs = study.room("logs")
    if submission.executor != "slurm":
        return sorted(logs.glob(f"{submission.name}.worker*.log"))
    elements = (i for i, element in enumerate(submission.elements) if task_id in element)
    return [element_log(study, submission, element) for element in elements]


def element_log(study: Study, submission: Submission, element: int) -> Path:
    """The log of one array element."""
    return study.room("logs") / f"{submission.job}_{element}_0_log.out"


def _own_lines(path: Path, task_id: str) -> Iterator[str]:
    """Lines that begin with the id, and what follows them (a traceback) up to another task's."""
    mine = False
    for line in _read(path):
        if TASK_LINE.match(line):
            mine = line.startswith(task_id)
        if mine:
            yield line


def _read(path: Path) -> list[str]:
    try:
        return read_end(path, LARGEST_LOG).decode(errors="replace").splitlines()
    except OSError as error:
        return [f"({path} cannot be read: {error.strerror})"]
