"""Slurm's queue, in one call for the whole study."""

import getpass
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence

from toolkit.errors import ToolkitError
from toolkit.study.states import Queue


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
        raise ToolkitError(f"{' '.join(command[:2])} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def read_queue() -> Queue:
    """The user's jobs by name and array index (0 for a plain job). Raises `ToolkitError` when squeue fails."""
    lines = slurm("squeue", "--noheader", "--array", f"--user={getpass.getuser()}", "--format=%j|%K|%T")
    queue: dict[str, dict[int, str]] = defaultdict(dict)
    for line in lines.splitlines():
        name, index, state = line.rsplit("|", 2)
        queue[name][int(index) if index.isdigit() else 0] = state
    return dict(queue)


def cancel(job_names: Iterable[str]) -> None:
    """Cancel all jobs of these names, whatever array they are."""
    names: Sequence[str] = list(job_names)
    if names:
        slurm("scancel", f"--user={getpass.getuser()}", *(f"--jobname={name}" for name in names))


def config(*keys: str) -> dict[str, str]:
    """Values of the cluster's configuration, such as ``MaxArraySize``."""
    pairs = (line.partition("=") for line in slurm("scontrol", "show", "config").splitlines())
    values = {key.strip(): value.strip() for key, _, value in pairs}
    return {key: values[key] for key in keys if key in values}
