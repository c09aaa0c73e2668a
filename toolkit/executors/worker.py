"""A warm worker of the local pool: imports and compilation are paid once, then task after task.

    python -m toolkit.executors.worker runs/NAME/submissions/RECORD.json WORKERS

It reads one JSON list of task ids a line from its standard input and answers each with one line. What the tasks print
goes to standard error, which the pool points at the worker's log. When the input ends while a task trains, the pool was
killed: the task saves itself, and the worker ends.
"""

import json
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue

from toolkit.cli import run
from toolkit.study import Study
from toolkit.study.submission import Submission
from toolkit.training.request import TrainRequest, open_session
from toolkit.training.stop import StopFlag, on_signals


def main(argv: Sequence[str]) -> int:
    """Serve until the input ends or a signal asks to stop."""
    record, workers = Path(argv[0]), int(argv[1])
    request = TrainRequest.of(Study.open(record.parent.parent), Submission.read(record), workers)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    with on_signals() as stop:
        orders = _orders(stop)
        with open_session(request, stop) as train:
            print("ready", file=answers)
            for element in orders:
                train(element)
                if stop:  # also set by a device that broke: what is left goes on in a new worker
                    break
                print("done", file=answers)
    return 0


def _orders(stop: StopFlag) -> Iterator[list[str]]:
    """The pool's elements, as they come; the end of the input sets the flag, whatever the worker is doing."""
    lines: SimpleQueue[str] = SimpleQueue()

    def listen() -> None:
        with os.fdopen(os.dup(0)) as orders:
            for line in orders:
                lines.put(line)
        stop.set("the end of its pool")
        lines.put("")

    threading.Thread(target=listen, name="orders", daemon=True).start()
    return (json.loads(line) for line in iter(lines.get, ""))


if __name__ == "__main__":
    run(main)
