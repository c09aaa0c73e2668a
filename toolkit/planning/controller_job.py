"""The small Slurm job that follows a wave: it waits for the wave's jobs, looks, and launches the next one.

Its record is a submission without elements, so that ``launch --cancel`` ends it and the queue tells whether one waits;
what it launches stands in ``logs/RECORD.request.json``. It needs sbatch where it runs, so it runs on the host, never in
the image.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from toolkit.cluster.array import JobArray, Refused
from toolkit.cluster.container import HOST
from toolkit.cluster.profile import GPU_OPTIONS, Profile
from toolkit.errors import ToolkitError
from toolkit.executors.code import code_digest, snapshots, with_snapshot
from toolkit.executors.slurm import submit_recorded
from toolkit.planning.request import WaveRequest
from toolkit.study import Study
from toolkit.study.submission import Submission, new_submission, record_path, submissions


def controllers(study: Study) -> list[Submission]:
    """A study's controllers, oldest first."""
    return [submission for submission in submissions(study) if not submission.elements]


def submit_controller(
    study: Study, profile: Profile, data: Path, request: WaveRequest, after: Sequence[str]
) -> Submission:
    """Submit a controller that starts when the jobs ``after`` have ended, well or not. The caller holds the lock.

    Raises `ToolkitError` with sbatch's own words when it refuses; the wave itself stays submitted.
    """
    submission = new_submission(study, "slurm", [], data).model_copy(update={"code": code_digest()})
    once = replace(request, launch=replace(request.launch, study=str(study.path.absolute()), retry=()))
    once.write(request_path(study, submission.name))
    command = ("-m", "toolkit.planning.controller", str(record_path(study, submission).absolute()))
    kept = profile.code == "snapshot" and (snapshots(study) / code_digest()).is_dir()
    container, setup = with_snapshot(study, HOST, code_digest() if kept else None)
    array = JobArray(_small(profile), container, submission.name, study.room("logs"), command, 1, 1, after, setup)
    try:
        return submit_recorded(study, submission, array)
    except Refused as error:
        raise ToolkitError(
            f"the wave is submitted, but not its controller ({error}); give the same call again when the wave has ended"
        ) from error


def _small(profile: Profile) -> Profile:
    """The same site's job for a process that computes nothing."""
    options = {name: value for name, value in profile.sbatch.items() if name.replace("_", "-") not in GPU_OPTIONS}
    return profile.model_copy(update={"cpus": 1, "gpus": 0, "gres": None, "image": None, "sbatch": options})


def request_path(study: Study, name: str) -> Path:
    """What the controller whose record has this name is to launch."""
    return study.room("logs") / f"{name}.request.json"
