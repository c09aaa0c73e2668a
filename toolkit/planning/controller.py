"""The controller of a study on Slurm: one small job after each wave, which gives the launcher's call again.

python -m toolkit.planning.controller ARGUMENTS OF TOOLKIT.LAUNCH

It is a submission without elements, so that ``launch --cancel`` ends it and the queue tells whether one waits. It needs
sbatch where it runs, so it runs on the host, never in the image.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from toolkit.cli import run
from toolkit.cluster.container import HOST
from toolkit.cluster.profile import Profile
from toolkit.errors import ToolkitError
from toolkit.executors.slurm import array_executor, log_folder
from toolkit.study import Study
from toolkit.study.submission import Submission, new_submission, record_path, submissions

OF_THE_JOB = ("SLURM_", "SBATCH_")
"""Variables of a job that would change what its own sbatch and srun do."""
KEPT = ("SLURM_CONF",)
OWN_NAME = "TOOLKIT_CONTROLLER"


def main(argv: Sequence[str]) -> int:
    """Launch as ``argv`` says, with this job's variables out of the way."""
    from toolkit.launch import main as launch

    name = os.environ.get("SLURM_JOB_NAME", "")
    for variable in [v for v in os.environ if v.startswith(OF_THE_JOB) and v not in KEPT]:
        del os.environ[variable]
    os.environ[OWN_NAME] = name
    return launch(argv)


def own_name() -> str | None:
    """The name of the controller that this process is, None elsewhere."""
    return os.environ.get(OWN_NAME)


def controllers(study: Study) -> list[Submission]:
    """A study's controllers, oldest first."""
    return [submission for submission in submissions(study) if not submission.elements]


def submit_controller(
    study: Study, profile: Profile, data: Path, arguments: Sequence[str], after: Sequence[str]
) -> Submission:
    """Submit a controller that starts when the jobs ``after`` have ended, well or not. The caller holds the lock.

    Raises `ToolkitError` with sbatch's own words when it refuses; the wave itself stays submitted.
    """
    from submitit.core.utils import FailedJobError

    small = profile.model_copy(update={"cpus": 1, "gpus": 0, "gres": None, "image": None})
    submission = new_submission(study, "slurm", [], data)
    path = record_path(study, submission)
    submission.write(path)
    executor = array_executor(
        small,
        HOST,
        log_folder(study.room("logs")),
        submission.name,
        1,
        dependency=":".join(["afterany", *after]) if after else None,
        additional_parameters={"requeue": True, **profile.sbatch},
    )
    python = profile.python or shlex.quote(sys.executable)
    try:
        with redirect_stderr(StringIO()):
            job = executor._submit_command(f"{python} -u -m toolkit.planning.controller {shlex.join(arguments)}")
    except FailedJobError as error:
        path.unlink()
        raise ToolkitError(
            f"the wave is submitted, but sbatch refused its controller: {' '.join(str(error).split())}; give the same "
            "call again when the wave has ended"
        ) from error
    submission = submission.model_copy(update={"job": job.job_id})
    submission.write(path)
    return submission


if __name__ == "__main__":
    run(main)
