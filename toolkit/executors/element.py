"""What one array element runs: the tasks that its submission's record lists under its index.

    python -m toolkit.executors.element runs/NAME/submissions/RECORD.json

An element with N GPUs calls itself for each of them, with two more arguments, I and N: every N-th task from I on.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from toolkit.cli import complain, run
from toolkit.cluster.brake import SOME_FAILED
from toolkit.errors import ToolkitError
from toolkit.executors.code import check_code
from toolkit.executors.gpus import gpus
from toolkit.executors.side_by_side import run_side_by_side
from toolkit.files import temporary_name
from toolkit.study import Study
from toolkit.study.submission import Submission
from toolkit.training.request import TrainRequest, open_session
from toolkit.training.stop import on_signals
from toolkit.training.threads import allocation

MODULE = "toolkit.executors.element"
ROOM = 64 << 20
"""Bytes that must be free for checkpoint and result before training begins (our choice: a net of the population, its
momentum, and the checkpoint before)."""


def main(argv: Sequence[str]) -> int:
    """Train the element's tasks.

    Exit status 0: all have a result; 3: some of them failed; 75: saved, to be queued again; 69: something here kept the
    element from training at all, which the batch script counts against the node.
    """
    record, (first, processes) = Path(argv[0]), map(int, argv[1:] or (0, 1))
    study, submission = Study(record.parent.parent), Submission.read(record)
    tasks = submission.elements[int(os.environ["SLURM_ARRAY_TASK_ID"])][first::processes]
    with on_signals() as stop, ExitStack() as stack:
        try:
            if processes == 1:
                check_code(submission.code)
                check_room(study)
                devices = gpus()[: len(tasks)] if submission.gpus else []
                if len(devices) > 1:
                    return run_side_by_side([sys.executable, "-u", "-m", MODULE, argv[0]], devices, stop)
            request = TrainRequest.of(study, submission, max(1, allocation() // processes))
            train = stack.enter_context(open_session(request, stop))
        except ToolkitError as error:
            complain(error)
            return os.EX_UNAVAILABLE
        outcome = train(tasks)
    return os.EX_TEMPFAIL if outcome.preempted else SOME_FAILED if outcome.failed else 0


def check_room(study: Study) -> None:
    """Raise `ToolkitError` when there is no room for what training is for. A quota shows only in a written file."""
    for folder in (study.room("checkpoints"), study.room("results")):
        probe, advice = temporary_name(folder / "room"), "make room, and launch again"
        try:
            disk = os.statvfs(folder)
            if (free := disk.f_bavail * disk.f_frsize) < ROOM:
                raise ToolkitError(f"{folder} has {free >> 20} MB left, a task needs {ROOM >> 20}: {advice}")
            probe.write_bytes(bytes(1 << 20))
        except OSError as error:
            raise ToolkitError(f"{folder} takes no file of 1 MB ({error.strerror}): {advice}") from error
        finally:
            probe.unlink(missing_ok=True)


if __name__ == "__main__":
    run(main)
