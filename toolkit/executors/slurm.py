"""Slurm executor: what an element does stands in the submission's record.

An element finds its tasks by its array index, so a launcher that is killed right after sbatch loses nothing, and the
image needs no submitit.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.cluster import brake
from toolkit.cluster.array import ArrayChunk, JobArray, Refused, array_size, split
from toolkit.cluster.container import CODE, HOST, Container
from toolkit.cluster.profile import Profile
from toolkit.cluster.queue import leave_out, queue_of
from toolkit.errors import ToolkitError
from toolkit.executors.base import Elements
from toolkit.executors.code import code_digest, collect, keep_code, others, why_no_snapshot, with_snapshot
from toolkit.files import make_folder
from toolkit.study import Study
from toolkit.study.submission import (
    NONE_YET,
    ONE_BY_ONE,
    Manner,
    Rises,
    Submission,
    new_submission,
    record_path,
    submissions,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SlurmExecutor:
    """What all arrays of a launch have in common."""

    study: Study
    profile: Profile
    data: Path
    manner: Manner = ONE_BY_ONE
    container: Container = HOST
    rises: Rises = NONE_YET
    """What the profile's memory and time were raised by."""

    def submit(self, elements: Elements, after: Sequence[str] = ()) -> list[Submission]:
        """Submit elements as one array, or several where the cluster's MaxArraySize asks for it.

        Raises as `submit_recorded` does; arrays submitted before stay.
        """
        self._keep_code()
        make_folder(self._nodes)
        if self._sound_nodes() != self.profile:
            log.info("note: nodes left out: %s; --retry nodes tries them again", brake.described(self._nodes))
        submitted: list[Submission] = []
        for chunk in split(elements, array_size(), self.profile.throttle):
            before = submitted[chunk.after].job if chunk.after is not None else None
            record = self._record(chunk)
            array = self.array(record, chunk.throttle, [*after, *([before] if before else [])])
            with self._explained(array):
                submitted.append(submit_recorded(self.study, record, array))
        if others(self.study):
            self._collect_code()
        return submitted

    def run(self, submission: Submission) -> None:
        """Slurm does."""

    def describe(self, elements: Elements) -> dict[str, object]:
        """How many arrays `submit` would make, and the script of the first, which sbatch was asked about.

        Raises `Refused` with its words when it would not take it.
        """
        if not elements:
            return {}
        chunks = split(elements, array_size(), self.profile.throttle)
        array = self.array(self._record(chunks[0]), chunks[0].throttle)
        with self._explained(array):
            array.check()
        return {"arrays": len(chunks), "script": array.script()}

    @contextmanager
    def _explained(self, array: JobArray) -> Iterator[None]:
        """Where sbatch would take the array if no node were left out, its refusal says so."""
        try:
            yield
        except Refused as error:
            if array.profile == self.profile:
                raise
            try:
                replace(array, profile=self.profile).check()
            except ToolkitError:
                raise error from None
            raise Refused(
                f"no node that could take these tasks is left: {brake.described(self._nodes)}; mend what the logs "
                "say, then launch with --retry nodes"
            ) from error

    def array(self, submission: Submission, throttle: int, after: Sequence[str] = ()) -> JobArray:
        """The job array of a submission."""
        record = str(record_path(self.study, submission).absolute())
        digest = submission.code if self.profile.code == "snapshot" else None
        container, guards = with_snapshot(self.study, self.container, digest)
        setup = [*brake.lines(self._nodes, self.profile.exclude), *guards]
        return JobArray(
            self._sound_nodes(),
            container,
            submission.name,
            self.study.room("logs"),
            ("-m", "toolkit.executors.element", record),
            len(submission.elements),
            throttle,
            after,
            setup,
            saves=True,
        )

    def _record(self, chunk: ArrayChunk) -> Submission:
        image, gpus = self.profile.image, self.profile.asks_for_gpus
        record = new_submission(self.study, "slurm", chunk.elements, self.data, self.manner, image, gpus)
        asked = {"memory_gb": self.profile.memory_gb, "time_min": self.profile.time_min, "rises": self.rises}
        return record.model_copy(update={"code": code_digest(), **asked})

    @property
    def _nodes(self) -> Path:
        return self.study.path / brake.FOLDER

    def _sound_nodes(self) -> Profile:
        """The profile, without the nodes on which elements of this study have ended early."""
        broken = brake.broken_nodes(self._nodes, self.study.clock()) if self._nodes.is_dir() else []
        return self.profile.model_copy(
            update={"exclude": ",".join(filter(None, (self.profile.exclude, *broken))) or None}
        )

    def _keep_code(self) -> None:
        if self.profile.code == "snapshot" and (why := why_no_snapshot(self.study)):
            log.info("note: %s: tasks run %s, and refuse when it changes", why, CODE)
        elif self.profile.code == "snapshot":
            keep_code(self.study)

    def _collect_code(self) -> None:
        """Remove copies that no job in the queue runs; none while the queue is not known."""
        queue = queue_of(self.study)
        if queue is not None:
            collect(self.study, {s.code for s in submissions(self.study) if s.code and s.name in queue})


def try_nodes_again(study: Study, profile: Profile) -> None:
    """Forget on which nodes elements ended early; what waits in the queue may run there, too. Raises `SlurmError`."""
    brake.forget(study.path / brake.FOLDER)
    leave_out([s for s in submissions(study) if s.executor == "slurm"], profile.exclude)


def submit_recorded(study: Study, submission: Submission, array: JobArray) -> Submission:
    """Submit ``array`` under its record's name; returns the record with the job's id.

    The record is written before sbatch is called, so that whatever happens in between the queue tells what was
    submitted. Raises `Refused` with sbatch's own words, and the record is gone; raises `NoAnswer` when it is not known
    whether the array was taken: its record stays, and the queue will tell.
    """
    path = record_path(study, submission)
    submission.write(path)
    try:
        job = array.submit()
    except Refused:
        path.unlink()
        raise
    submission = submission.model_copy(update={"job": job})
    submission.write(path)
    return submission
