"""Job arrays: the one way to hand work to Slurm. submitit writes the batch script; nothing is pickled."""

import math
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from toolkit.cluster.container import HOST, Container
from toolkit.cluster.profile import Profile
from toolkit.cluster.queue import NoAnswer, SlurmError, config, slurm
from toolkit.errors import ToolkitError, UsageError
from toolkit.files import write_atomic

if TYPE_CHECKING:
    import submitit

WARNING = "URG"
"""The signal before the time limit. Slurm sends it to every process of the step; this is the one that by default does
nothing, for the process that serves a mounted image must survive it."""


class Refused(ToolkitError):
    """sbatch said no: nothing is in the queue."""


@dataclass(frozen=True)
class JobArray:
    """One array of jobs, each of which runs the same Python module and tells itself apart by its array index."""

    profile: Profile
    container: Container
    name: str
    logs: Path
    command: Sequence[str]
    """Arguments of Python: ``-m MODULE RECORD``."""
    size: int
    """Number of elements."""
    throttle: int
    """Elements that run at the same time."""
    after: Sequence[str] = ()
    """Job ids that must have ended, well or not, before an element starts."""
    setup: Sequence[str] = ()
    """Lines of the batch script before all others."""
    saves: bool = False
    """Whether an element saves itself when it is warned before its time limit, and is then queued again."""

    def script(self) -> str:
        """The batch script."""
        command = f"{python(self.profile, self.container)} -u {shlex.join(self.command)}"
        return f"{self._submitit()._make_submission_file_text(command, '')}\n"

    def submit(self) -> str:
        """Call sbatch; returns the job's id. A copy of the script stays with the logs.

        sbatch reads it in a folder of this user's alone: where others may write to the logs, they could change it.

        Raises `Refused` with sbatch's own words, and `NoAnswer` when it is not known whether the array was taken.
        """
        script = self.script().encode()
        write_atomic(log_folder(self.logs) / f"{self.name}.sbatch", script)
        try:
            with TemporaryDirectory() as private:
                path = Path(private) / f"{self.name}.sbatch"
                path.write_bytes(script)
                said = slurm("sbatch", "--parsable", str(path))
        except NoAnswer as error:
            raise NoAnswer(f"sbatch got no answer, so array {self.name} may be queued or not ({error})") from error
        except SlurmError as error:
            raise Refused(f"sbatch refused the array: {error.said}") from error
        return _job_id(said)

    def check(self) -> None:
        """Ask sbatch whether it would take the array, and the partition whether it would ever start.

        Nothing is queued or written. Raises `Refused`, `NoAnswer`.
        """
        try:
            slurm("sbatch", "--test-only", stdin=self.script())
        except NoAnswer:
            raise
        except SlurmError as error:
            raise Refused(f"sbatch would refuse the array: {error.said}") from error
        limit = time_limit(self.profile.partition)
        if self.profile.time_min > limit and not self.profile.qos:  # a QOS may allow more
            raise Refused(
                f"time_min {self.profile.time_min} is over the partition's limit of {limit:g} min: such an array "
                "waits for ever"
            )

    def _submitit(self) -> "submitit.SlurmExecutor":
        import submitit

        profile = self.profile
        executor = submitit.SlurmExecutor(folder=log_folder(self.logs))
        executor.update_parameters(
            job_name=self.name,
            partition=profile.partition,
            account=profile.account,
            qos=profile.qos,
            constraint=profile.constraint,
            exclude=profile.exclude,
            time=profile.time_min,
            mem=None if profile.memory_gb is None else f"{round(profile.memory_gb * 1024)}M",
            cpus_per_task=profile.cpus,
            gpus_per_node=profile.gpus or None,
            gres=profile.gres,
            stderr_to_stdout=True,
            wckey=None,
            setup=[*self.setup, *profile.setup, *_exports(self.container)] or None,
            array_parallelism=self.throttle,
            dependency=":".join(["afterany", *self.after]) if self.after else None,
            teardown=_requeue_lines(profile.max_requeues) if self.saves else None,
            additional_parameters=self._further(),
        )
        executor.parameters["map_count"] = self.size
        return executor

    def _further(self) -> dict[str, Any]:
        """Options of sbatch that submitit has no parameter for; those of the profile that are false are left out.

        An element is one of Slurm's tasks: options such as gpus-per-task are refused where their number is not said.
        """
        warning = {"signal": f"{WARNING}@{self.profile.grace_s}"} if self.saves else {}
        given = {key: value for key, value in self.profile.sbatch.items() if value is not False}
        return {"requeue": True, "ntasks": 1, **warning, **given}


@dataclass(frozen=True)
class ArrayChunk:
    """A part of the elements that fits one array: Slurm takes no index beyond MaxArraySize."""

    elements: Sequence[tuple[str, ...]]
    throttle: int
    """Elements that run at the same time."""
    after: int | None
    """Index of the chunk that must end first; None: starts at once."""


def split(elements: Sequence[tuple[str, ...]], array_size: int, throttle: int) -> list[ArrayChunk]:
    """Chunks of at most ``array_size`` elements that together never run more than ``throttle`` at a time.

    The throttle is shared out over the chunks; when it is smaller than their number, chunks wait for each other.
    """
    slices = [elements[i : i + array_size] for i in range(0, len(elements), array_size)]
    lanes = min(len(slices), throttle)
    return [
        ArrayChunk(part, throttle // lanes + (i % lanes < throttle % lanes), i - lanes if i >= lanes else None)
        for i, part in enumerate(slices)
    ]


def array_size() -> int:
    """Elements that one array may have (MaxArraySize)."""
    size = int(config("MaxArraySize").get("MaxArraySize", 1001))
    if size < 1:
        raise ToolkitError("this cluster's MaxArraySize is 0: it takes no job arrays; use --executor local in a job")
    return size


def time_limit(partition: str | None) -> float:
    """Minutes that the longest of the named partitions (None: the default's) lets a job run; infinity: no limit."""
    asked = partition or os.environ.get("SBATCH_PARTITION")
    rows = [line.split("|") for line in slurm("sinfo", "--noheader", "--all", "--format=%P|%l").splitlines()]
    wanted = [limit for name, limit in rows if (name.rstrip("*") in asked.split(",") if asked else name.endswith("*"))]
    return max(map(_minutes, wanted), default=math.inf)


def _minutes(text: str) -> float:
    """Slurm's ``days-hours:minutes:seconds``, of which the first parts may be missing; other words are no limit.

    >>> _minutes("1-00:30:00"), _minutes("30:00"), _minutes("infinite")
    (1470.0, 30.0, inf)
    """
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in (days or "0", *parts)):
        return math.inf
    return int(days or 0) * 1440 + sum(int(part) * 60**power for power, part in enumerate(reversed(parts), -1))


def log_folder(path: Path) -> Path:
    """The absolute folder for an array's logs. Raises `UsageError` for a path that Slurm would read as a pattern."""
    folder = path.absolute()
    if any(character in str(folder) for character in "%\n\\"):
        raise UsageError(f"Slurm cannot write logs to {str(folder)!r}: no %, backslash or line break in the path")
    return folder


def python(profile: Profile, container: Container = HOST) -> str:
    """What starts Python on a node, in the image if there is one, quoted for the shell."""
    if container.prefix:
        return shlex.join([*container.prefix, "python"])
    return profile.python or shlex.quote(sys.executable)


def _job_id(said: str) -> str:
    """The id in sbatch's ``--parsable`` answer (``ID`` or ``ID;CLUSTER``), whatever a site's banner says around it.

    >>> _job_id("Welcome: job 42 is the 1000th today!\\n57;cluster\\n")
    '57'
    """
    found = re.findall(r"^(\d+)(?:;\S+)?$", said, re.MULTILINE)
    if not found:
        raise NoAnswer(f"sbatch's answer holds no job id: {' '.join(said.split())!r}")
    return str(found[-1])


def _requeue_lines(limit: int) -> list[str]:
    """The host's side of preemption: the image has no scontrol, so the batch script requeues when the tasks ask."""
    return [
        "status=$?",
        f'if [ $status -eq {os.EX_TEMPFAIL} ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {limit} ]; then',
        '    scontrol requeue "$SLURM_JOB_ID"',
        "fi",
        "exit $status",
    ]


def _exports(container: Container) -> list[str]:
    """Lines that set the container's variables; on the host a PYTHONPATH of the site's modules follows ours."""
    lines = {name: shlex.quote(value) for name, value in container.environment.items()}
    if "PYTHONPATH" in lines and not container.prefix:
        lines["PYTHONPATH"] += '"${PYTHONPATH:+:$PYTHONPATH}"'
    return [f"export {name}={value}" for name, value in lines.items()]
