"""What only Slurm's accounting (slurmdbd) knows: how jobs ended that left the queue, and what a user may submit."""

import subprocess
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from toolkit.cluster.queue import slurm_environment, user
from toolkit.study.ranges import parse_ranges
from toolkit.study.submission import Submission

Endings = Mapping[str, Mapping[int, str]]
"""Slurm's last word by job name and array index (0 for a plain job), such as ``TIMEOUT``."""
ALIVE = ("PENDING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "RESIZING")
CLOCKS_S = 60.0
"""How far the clocks of launcher and database may be apart (our choice)."""


def endings(submitted: Collection[Submission]) -> Endings:
    """How the jobs of these submissions ended; empty where sacct is not here, has no account or no answer."""
    if not submitted:
        return {}
    first = datetime.fromtimestamp(min(submission.created for submission in submitted) - CLOCKS_S)
    names = ",".join(submission.name for submission in submitted)
    options = ["--allocations", f"--starttime={first:%Y-%m-%dT%H:%M:%S}", f"--name={names}"]
    return parse(_ask("sacct", *options, "--format=JobName,JobID,State,ExitCode"))


def submit_limit() -> int | None:
    """Jobs that the user may have in the queue (MaxSubmitJobs of the association); None where no account says it."""
    lines = _ask("sacctmgr", "show", "associations", f"user={user()}", "format=MaxSubmitJobs").splitlines()
    return min((int(line) for line in lines if line.isdigit()), default=None)


def parse(lines: str) -> Endings:
    """sacct's lines ``NAME|JOB_INDEX|STATE|EXIT:SIGNAL``; elements that never ran stand together.

    >>> parse("a|7_3|OUT_OF_MEMORY|0:125\\na|7_[4-5%2]|CANCELLED by 0|0:0")
    {'a': {3: 'OUT_OF_MEMORY (exit 0:125)', 4: 'CANCELLED by 0', 5: 'CANCELLED by 0'}}
    """
    found: dict[str, dict[int, str]] = defaultdict(dict)
    for line in lines.splitlines():
        name, job, state, code = line.rsplit("|", 3)
        for index in () if state in ALIVE else _indices(job):
            found[name][index] = state if code == "0:0" else f"{state} (exit {code})"
    return dict(found)


def _ask(program: str, *arguments: str) -> str:
    """What one of accounting's programs prints; nothing where it is not here, has no account or no answer."""
    command = [program, "--noheader", "--parsable2", *arguments]
    try:
        done = subprocess.run(command, env=slurm_environment(), capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _indices(job: str) -> Iterator[int]:
    _, _, array = job.partition("_")
    yield from parse_ranges(array.strip("[]").partition("%")[0], job) if array else [0]
