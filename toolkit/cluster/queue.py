"""Slurm's queue, asked by job id. Every command of Slurm's runs in `slurm_environment`."""

import os
import pwd
import re
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from toolkit.errors import ToolkitError
from toolkit.study import Study
from toolkit.study.states import COMPLETED, Queue
from toolkit.study.submission import Submission, record_path, submissions

PREFIXES = ("SLURM_", "SLURMD_", "SBATCH_", "SQUEUE_", "SCANCEL_", "SALLOC_", "SRUN_", "SACCT_", "SINFO_", "SCONTROL_")
"""Variables that change what Slurm's commands do and print, or that a job has set for its own steps."""
CONTAINMENT = ("APPTAINER_CONTAIN", "APPTAINER_CONTAINALL", "SINGULARITY_CONTAIN", "SINGULARITY_CONTAINALL")
"""Variables that would keep the task's image from seeing folders that it must see."""
DEVICES = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
"""Variables that name the GPUs of the job (a notebook's, say) in which a launch is typed: a task's are others. One
that is set to nothing asks for the CPU, and is handed on."""
KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION")
"""Which cluster, and who pays: a user's own defaults."""
TIMEOUT_S = 120
LATE_S = 60
"""How long a file system may take to show here what a job wrote elsewhere at its end: an NFS client remembers a folder
for a minute at most (acdirmax in nfs(5))."""
DONE = "No error|no longer pending|already finished"
"""scontrol's words where it has changed what still waits of an array, or nothing waits."""
NO_ANSWER = re.compile(r"timed out|unable to contact|connection|communication|temporarily|try again", re.IGNORECASE)
"""Slurm's words for a controller that was not reached: what was asked for may have been done all the same."""


class SlurmError(ToolkitError):
    """One of Slurm's commands failed."""

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said or message
        """Slurm's own words."""


class NoAnswer(SlurmError):
    """The controller did not answer: nothing is known, neither that a job is there nor that it is gone."""


def slurm_here() -> bool:
    """Whether jobs can be submitted from this machine."""
    return shutil.which("sbatch") is not None


def slurm_environment() -> dict[str, str]:
    """This process's environment without what an allocation or a user's shell would change of our jobs."""
    dropped = set(left_out())
    return {name: value for name, value in os.environ.items() if name not in dropped}


def left_out() -> list[str]:
    """Variables of this process that Slurm's commands are not given."""
    devices = {name for name in DEVICES if os.environ.get(name)}
    names = {*CONTAINMENT, *devices}
    return [name for name in os.environ if name not in KEPT and (name.startswith(PREFIXES) or name in names)]


def slurm(*command: str, stdin: str = "") -> str:
    """The standard output of one of Slurm's commands.

    Raises `NoAnswer` when the controller was not reached in time, `SlurmError` with Slurm's words when it refused.
    """
    try:
        done = subprocess.run(
            command,
            env=slurm_environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NoAnswer(
            f"{command[0]} gave no answer in {TIMEOUT_S} s: is the controller up (scontrol ping)?"
        ) from error
    except OSError as error:
        raise SlurmError(f"{command[0]} does not start ({error}); is this a login node of the cluster?") from error
    if done.returncode:
        words = " ".join(done.stderr.split()) or " ".join(done.stdout.split()) or "no word"
        kind = NoAnswer if NO_ANSWER.search(words) else SlurmError
        advice = "if sinfo finds no cluster either, set SLURM_CONF, or run here with --executor local"
        raise kind(f"{' '.join(command[:2])} failed ({words}); {advice}", words)
    return done.stdout


def read_queue() -> Queue:
    """The user's own jobs by name and array index (0 for a plain job). Raises `SlurmError` when squeue fails."""
    queue: dict[str, dict[int, str]] = defaultdict(dict)
    for job in _squeue(f"--user={user()}"):
        queue[job.name][job.index] = job.state
    return dict(queue)


def user() -> str:
    """The name of the user whom Slurm sees (LOGNAME may say another)."""
    return pwd.getpwuid(os.getuid()).pw_name


def queue_of(study: Study, lately: bool = False) -> Queue | None:
    """The study's jobs in the queue, whoever owns them, by submission and array index; None when squeue is not here.

    Jobs are asked for by their id. A submission whose id was never recorded (its launcher died, or sbatch got no
    answer) is known by the name of its job, or of its script. ``lately``: those that completed less than `LATE_S`
    ago are among them. Raises `SlurmError` when squeue is here and fails.
    """
    submitted = [s for s in submissions(study) if s.executor == "slurm" and not s.cancelled]
    if not submitted:
        return {}
    return find_jobs(submitted, lately) if slurm_here() else None


def find_jobs(submitted: Sequence[Submission], lately: bool = False) -> Queue:
    """Slurm's state of each element that is in the queue, by submission, as `queue_of`. Raises `SlurmError`."""
    queue: dict[str, dict[int, str]] = defaultdict(dict)
    for submission, job in _matched(submitted, ("--states=all",) if lately else ()):
        queue[submission.name][job.index] = job.state
    return dict(queue)


def job_ids(submitted: Sequence[Submission]) -> list[str]:
    """Slurm's ids of those of these submissions that are in the queue, an array's as one."""
    return sorted({job.id for _, job in _matched(submitted)})


def scancel(study: Study, submission: Submission) -> None:
    """Cancel the jobs of a submission, whoever owns them.

    Raises `ToolkitError` unless their owner wrote the record, for others may be able to write to the study's folder and
    name any job; `SlurmError` with Slurm's words when it is not allowed.
    """
    path = record_path(study, submission)
    owner, found = str(path.lstat().st_uid), [job for _, job in _matched([submission])]
    if foreign := next((job for job in found if job.owner != owner), None):
        raise ToolkitError(
            f"{path} was not written by the owner of job {foreign.id}: scancel it by hand if it is yours"
        )
    if found:
        slurm("scancel", *sorted({job.id for job in found}))


def leave_out(submitted: Sequence[Submission], nodes: str | None) -> None:
    """Of all nodes only these are left out for what waits of these submissions. Raises `SlurmError`, as `scancel`."""
    for job in job_ids(submitted):
        try:
            slurm("scontrol", "update", f"JobId={job}", f"ExcNodeList={nodes or ''}")
        except SlurmError as error:
            if not re.search(DONE, error.said):
                raise


def config(*keys: str) -> dict[str, str]:
    """Values of the cluster's configuration, such as ``MaxArraySize``."""
    pairs = (line.partition("=") for line in slurm("scontrol", "show", "config").splitlines())
    values = {key.strip(): value.strip() for key, _, value in pairs}
    return {key: values[key] for key in keys if key in values}


class _Job:
    """One line of squeue."""

    def __init__(self, line: str) -> None:
        self.id, index, state, reason, self.owner, end, self.name, command = line.split("|", 7)
        self.index = int(index) if index.isdigit() else 0
        reason = reason.partition(",")[0]  # after it: which nodes
        stuck = state == "PENDING" and reason not in TURN
        self.state = f"{state} ({reason})" if stuck else state
        self.script = command.rpartition("/")[2].removesuffix(".sbatch")
        self.left = state in ENDED and not (state == COMPLETED and _is_recent(end))
        """Whether it left the queue, and whatever it wrote can be seen."""


def _is_recent(end: str) -> bool:
    """Slurm's time of an end, by the controller's clock; one that cannot be read is."""
    try:
        return time.time() - datetime.fromisoformat(end).timestamp() < LATE_S
    except ValueError:
        return True


ENDED = frozenset({
    "BOOT_FAIL", "CANCELLED", COMPLETED, "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT",
})  # fmt: skip
"""Slurm's states of jobs that have left the queue; squeue can list them for a while (MinJobAge)."""

TURN = frozenset({
    "None", "Priority", "Resources", "Dependency", "BeginTime", "JobArrayTaskLimit", "Prolog", "Cleaning", "Licenses",
    "Reservation", "BurstBufferResources", "BurstBufferStageIn",
})  # fmt: skip
"""Slurm's reasons of a job that waits for its turn alone. With any other one (held, a limit of the partition, of a QOS
or of an account, nodes that are down) a person may have to look."""


def _squeue(*which: str) -> Iterator[_Job]:
    lines = slurm("squeue", "--noheader", "--array", "--all", *which, "--format=%F|%K|%T|%r|%U|%e|%j|%o")
    jobs = (_Job(line) for line in lines.splitlines() if line.count("|") >= 7)
    return (job for job in jobs if not job.left)


def _matched(submitted: Sequence[Submission], options: Sequence[str] = ()) -> Iterator[tuple[Submission, _Job]]:
    recorded = {submission.job: submission for submission in submitted if submission.job}
    for job in _by_id(recorded, options):
        if (found := recorded.get(job.id)) and found.name in (job.script, job.name):  # ids begin anew some day
            yield found, job
    unrecorded = {submission.name: submission for submission in submitted if not submission.job}
    for which in (f"--name={','.join(unrecorded)}", f"--user={user()}") if unrecorded else ():
        for job in _squeue(which, *options):  # what was renamed since still has its script's name
            if found := unrecorded.get(job.name) or unrecorded.get(job.script):
                yield found, job


def _by_id(jobs: Mapping[str, object], options: Sequence[str]) -> Iterator[_Job]:
    """The jobs of these ids; one that Slurm has forgotten is none."""
    if not jobs:
        return iter(())
    try:
        return _squeue(f"--jobs={','.join(jobs)}", *options)
    except SlurmError as error:
        if "invalid job id" in error.said.lower() and not isinstance(error, NoAnswer):
            return iter(())
        raise
