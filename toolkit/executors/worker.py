"""A warm worker of the local pool: imports and compilation are paid once, then task after task.

    python -m toolkit.executors.worker STUDY DATA PACK WORKERS

It reads one JSON list of task ids a line from its standard input and answers each with one line. What the tasks print
goes to standard error, which the pool points at the worker's log.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from toolkit.cli import run
from toolkit.study import Study


def main(argv: Sequence[str]) -> int:
    """Serve until the input ends or a signal asks to stop."""
    from toolkit.engine.stop import on_signals
    from toolkit.engine.threads import prepare

    study, data, pack, workers = Study.open(argv[0]), Path(argv[1]), int(argv[2]), int(argv[3])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    declared = study.tasks()
    with on_signals() as stop:
        threads = prepare(workers)
        from toolkit.engine.session import Session

        with Session(study, data, threads, stop) as session:
            print("ready", file=answers)
            for line in sys.stdin:
                finished = study.finished()
                session.run([declared[i] for i in json.loads(line) if i not in finished], pack)
                print("done", file=answers)
    return 0


if __name__ == "__main__":
    run(main)
