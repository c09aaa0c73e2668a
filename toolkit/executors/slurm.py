"""Slurm executor: submitit writes and submits the arrays; what an element does stands in the submission's record.

No function is pickled: an element finds its tasks by its array index, so a launcher that is killed right after sbatch
loses nothing, and the image needs no submitit.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import ToolkitError, UsageError
from toolkit.executors.plan import Part, split
from toolkit.executors.profile import Profile
from toolkit.executors.queue import config
from toolkit.study import Study
from toolkit.study.submission import Submission, new_submission, record_path

if TYPE_CHECKING:
    import submitit

PREEMPTED = 75
"""Exit status (EX_TEMPFAIL) of tasks that saved themselves and want to go on."""


def submit(
    study: Study, elements: Sequence[tuple[str, ...]], profile: Profile, data: Path, pack: int
) -> list[Submission]:
    """Submit elements as one array, or several where the cluster's MaxArraySize asks for it.

    The caller holds the study's lock. Each array's record is written before sbatch is called, under the name that the
    job gets, so that whatever happens in between the queue tells what was submitted. Raises `ToolkitError` with
    sbatch's own words when it refuses; arrays submitted before stay.
    """
    submitted: list[Submission] = []
    for part in split(elements, array_size(), profile.throttle):
        after = submitted[part.after].job if part.after is not None else None
        submitted.append(_submit_part(study, part, profile, data, pack, after))
    return submitted


def script(study: Study, submission: Submission, profile: Profile, throttle: int, after: str | None = None) -> str:
    """The sbatch script of an array."""
    return _submitit(study, submission, profile, throttle, after)._make_submission_file_text(
        _command(study, submission, profile), submission.name
    )


def array_size() -> int:
    """Elements that one array may have (MaxArraySize)."""
    size = int(config("MaxArraySize").get("MaxArraySize", 1001))
    if size < 1:
        raise ToolkitError("this cluster's MaxArraySize is 0: it takes no job arrays; use --executor local in a job")
    return size


def _submit_part(study: Study, part: Part, profile: Profile, data: Path, pack: int, after: str | None) -> Submission:
    from submitit.core.utils import FailedJobError

    submission = new_submission(study, "slurm", part.elements, data, pack, profile.image)
    path = record_path(study, submission)
    submission.write(path)
    executor = _submitit(study, submission, profile, part.throttle, after)
    try:
        job = executor._submit_command(_command(study, submission, profile))
    except FailedJobError as error:
        path.unlink()
        raise ToolkitError(f"sbatch refused the array: {' '.join(str(error).split())}") from error
    submission = submission.model_copy(update={"job": job.job_id})
    submission.write(path)
    return submission


def _submitit(
    study: Study, submission: Submission, profile: Profile, throttle: int, after: str | None
) -> "submitit.SlurmExecutor":
    import submitit

    executor = submitit.SlurmExecutor(folder=_log_folder(study))
    executor.update_parameters(
        job_name=submission.name,
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
        dependency=after and f"afterany:{after}",
        signal_delay_s=profile.grace_s,
        array_parallelism=throttle,
        stderr_to_stdout=True,
        wckey=None,
        setup=list(profile.setup) or None,
        teardown=_requeue_lines(profile.max_requeues),
        additional_parameters=dict(profile.sbatch) or None,
    )
    executor.parameters["map_count"] = len(submission.elements)
    return executor


def _requeue_lines(limit: int) -> list[str]:
    """The host's side of preemption: the image has no scontrol, so the batch script requeues when the tasks ask."""
    return [
        "status=$?",
        f'if [ $status -eq {PREEMPTED} ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {limit} ]; then',
        '    scontrol requeue "$SLURM_JOB_ID"',
        "fi",
        "exit $status",
    ]


def _command(study: Study, submission: Submission, profile: Profile) -> str:
    python = profile.python or shlex.quote(sys.executable)
    record = shlex.quote(str(record_path(study, submission).absolute()))
    return f"{python} -u -m toolkit.executors.element {record}"


def _log_folder(study: Study) -> Path:
    folder = study.room("logs").absolute()
    if any(character in str(folder) for character in "%\n\\"):
        raise UsageError(f"Slurm cannot write logs to {str(folder)!r}: no %, backslash or line break in the path")
    return folder
