"""Slurm executor: submitit writes and submits the arrays; what an element does stands in the submission's record.

No function is pickled: an element finds its tasks by its array index, so a launcher that is killed right after sbatch
loses nothing, and the image needs no submitit.
"""

import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.cluster.container import HOST, Container
from toolkit.cluster.profile import Profile
from toolkit.cluster.queue import config
from toolkit.errors import ToolkitError, UsageError
from toolkit.launching.tasks import ArrayChunk, split
from toolkit.study import Study
from toolkit.study.submission import Submission, new_submission, record_path

if TYPE_CHECKING:
    import submitit

WARNING = "URG"
"""The signal before the time limit. Slurm sends it to every process of the step; this is the one that by default does
nothing, for the process that serves a mounted image must survive it."""
PREEMPTED = 75
"""Exit status (EX_TEMPFAIL) of tasks that saved themselves and want to go on."""


@dataclass(frozen=True)
class ArraySubmitter:
    """What all arrays of a launch have in common."""

    study: Study
    profile: Profile
    data: Path
    pack: int = 1
    container: Container = HOST

    def submit(self, elements: Sequence[tuple[str, ...]], after: Sequence[str] = ()) -> list[Submission]:
        """Submit elements as one array, or several where the cluster's MaxArraySize asks for it.

        They start when the jobs ``after`` have ended, well or not.

        The caller holds the study's lock. Each array's record is written before sbatch is called, under the name that
        the job gets, so that whatever happens in between the queue tells what was submitted. Raises `ToolkitError`
        with sbatch's own words when it refuses; arrays submitted before stay.
        """
        submitted: list[Submission] = []
        for part in split(elements, array_size(), self.profile.throttle):
            before = submitted[part.after].job if part.after is not None else None
            submitted.append(self._submit(part, [*after, *([before] if before else [])]))
        return submitted

    def describe(self, elements: Sequence[tuple[str, ...]]) -> dict[str, object]:
        """How many arrays `submit` would make, and the script of the first."""
        parts = split(elements, array_size(), self.profile.throttle)
        return {"arrays": len(parts), "script": self.script(self._record(parts[0]), parts[0].throttle)}

    def script(self, submission: Submission, throttle: int) -> str:
        """The sbatch script of an array."""
        text = self._submitit(submission, throttle)._make_submission_file_text(self._command(submission), "")
        return f"{text}\n"

    def _submit(self, part: ArrayChunk, after: Sequence[str]) -> Submission:
        from submitit.core.utils import FailedJobError

        submission = self._record(part)
        path = record_path(self.study, submission)
        submission.write(path)
        try:
            with redirect_stderr(StringIO()):  # submitit prints sbatch's words, which the error repeats
                job = self._submitit(submission, part.throttle, after)._submit_command(self._command(submission))
        except FailedJobError as error:
            path.unlink()
            raise ToolkitError(f"sbatch refused the array: {' '.join(str(error).split())}") from error
        submission = submission.model_copy(update={"job": job.job_id})
        submission.write(path)
        return submission

    def _record(self, part: ArrayChunk) -> Submission:
        return new_submission(self.study, "slurm", part.elements, self.data, self.pack, self.profile.image)

    def _submitit(self, submission: Submission, throttle: int, after: Sequence[str] = ()) -> "submitit.SlurmExecutor":
        signal = {"requeue": True, "signal": f"{WARNING}@{self.profile.grace_s}", **self.profile.sbatch}
        return array_executor(
            self.profile,
            self.container,
            log_folder(self.study.room("logs")),
            submission.name,
            len(submission.elements),
            array_parallelism=throttle,
            dependency=":".join(["afterany", *after]) if after else None,
            teardown=_requeue_lines(self.profile.max_requeues),
            additional_parameters=signal,
        )

    def _command(self, submission: Submission) -> str:
        record = shlex.quote(str(record_path(self.study, submission).absolute()))
        return f"{python(self.profile, self.container)} -u -m toolkit.executors.element {record}"


def array_executor(
    profile: Profile, container: Container, logs: Path, name: str, elements: int, **more: Any
) -> "submitit.SlurmExecutor":
    """submitit's executor for an array of so many elements; ``more`` are parameters of its that the profile lacks."""
    import submitit

    executor = submitit.SlurmExecutor(folder=logs)
    executor.update_parameters(
        job_name=name,
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
        setup=[*profile.setup, *_exports(container)] or None,
        **more,
    )
    executor.parameters["map_count"] = elements
    return executor


def python(profile: Profile, container: Container) -> str:
    """What starts Python on a node, in the image if there is one, quoted for the shell."""
    if container.prefix:
        return shlex.join([*container.prefix, "python"])
    return profile.python or shlex.quote(sys.executable)


def array_size() -> int:
    """Elements that one array may have (MaxArraySize)."""
    size = int(config("MaxArraySize").get("MaxArraySize", 1001))
    if size < 1:
        raise ToolkitError("this cluster's MaxArraySize is 0: it takes no job arrays; use --executor local in a job")
    return size


def _requeue_lines(limit: int) -> list[str]:
    """The host's side of preemption: the image has no scontrol, so the batch script requeues when the tasks ask."""
    return [
        "status=$?",
        f'if [ $status -eq {PREEMPTED} ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {limit} ]; then',
        '    scontrol requeue "$SLURM_JOB_ID"',
        "fi",
        "exit $status",
    ]


def _exports(container: Container) -> list[str]:
    return [f"export {name}={shlex.quote(value)}" for name, value in container.environment.items()]


def log_folder(path: Path) -> Path:
    """The absolute folder for an array's logs. Raises `UsageError` for a path that Slurm would read as a pattern."""
    folder = path.absolute()
    if any(character in str(folder) for character in "%\n\\"):
        raise UsageError(f"Slurm cannot write logs to {str(folder)!r}: no %, backslash or line break in the path")
    return folder
