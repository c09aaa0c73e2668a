"""Slurm's queue, in one call for the whole study."""

import getpass
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Collection

from toolkit.errors import ToolkitError
from toolkit.study import Study
from toolkit.study.states import Queue
from toolkit.study.submission import submissions


def slurm_here() -> bool:
    """Whether jobs can be submitted from this machine."""
    return shutil.which("sbatch") is not None


def slurm(*command: str) -> str:
    """The standard output of one of Slurm's commands. Raises `ToolkitError` with its message when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolkitError(f"{command[0]} does not answer ({error}); is this a login node of the cluster?") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
        advice = "if sinfo finds no cluster either, set SLURM_CONF, or run here with --executor local"
        raise ToolkitError(f"{' '.join(command[:2])} failed ({said}); {advice}")
    return done.stdout


def read_queue() -> Queue:
    """The user's jobs by name and array index (0 for a plain job). Raises `ToolkitError` when squeue fails."""
    lines = slurm("squeue", "--noheader", "--array", f"--user={getpass.getuser()}", "--format=%j|%K|%T")
    queue: dict[str, dict[int, str]] = defaultdict(dict)
    for line in lines.splitlines():
        name, index, state = line.rsplit("|", 2)
        queue[name][int(index) if index.isdigit() else 0] = state
    return dict(queue)


def queue_of(study: Study) -> Queue | None:
    """The queue as far as the study has jobs in it: empty when it has none, None when squeue is not here.

    Raises `ToolkitError` when squeue is here and fails.
    """
    if not any(submission.executor == "slurm" for submission in submissions(study)):
        return {}
    return read_queue() if slurm_here() else None


def job_ids(names: Collection[str]) -> list[str]:
    """Slurm's ids of the jobs of these names that are in the queue, an array's as one."""
    if not names:
        return []
    mine = slurm("squeue", "--noheader", f"--user={getpass.getuser()}", f"--name={','.join(names)}", "--format=%F")
    return sorted(set(mine.split()))


def scancel(job_name: str) -> None:
    """Cancel the jobs of this name."""
    slurm("scancel", f"--user={getpass.getuser()}", f"--name={job_name}")


def config(*keys: str) -> dict[str, str]:
    """Values of the cluster's configuration, such as ``MaxArraySize``."""
    pairs = (line.partition("=") for line in slurm("scontrol", "show", "config").splitlines())
    values = {key.strip(): value.strip() for key, _, value in pairs}
    return {key: values[key] for key in keys if key in values}
