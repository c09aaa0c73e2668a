"""What one array element runs: the tasks that its submission's record lists under its index.

python -m toolkit.executors.element runs/NAME/submissions/RECORD.json
"""

import os
from collections.abc import Sequence
from pathlib import Path

from toolkit.cli import run
from toolkit.study import Study
from toolkit.study.submission import Submission


def main(argv: Sequence[str]) -> int:
    """Train the element's tasks; the exit status is that of `toolkit.train` (75: saved, to be queued again)."""
    from toolkit.executors.code import check_code
    from toolkit.training.request import TrainRequest, exit_status, open_session
    from toolkit.training.stop import on_signals

    record = Path(argv[0])
    submission = Submission.read(record)
    check_code(submission.code)
    tasks = submission.elements[int(os.environ["SLURM_ARRAY_TASK_ID"])]
    with (
        on_signals() as stop,
        open_session(TrainRequest.of(Study.open(record.parent.parent), submission), stop) as train,
    ):
        return exit_status(train(tasks))


if __name__ == "__main__":
    run(main)
