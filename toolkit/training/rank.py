"""One of several ranks that train tasks together; `toolkit.training.ranks` starts it.

    python -m toolkit.training.rank ORDER        (a JSON document of `ranks.Order`)

Status 0: it came to the end of its tasks; 75: stopped; anything else: it cannot go on, and no other rank can.
"""

import os
import sys
import threading
from collections.abc import Sequence

from toolkit.cli import complain, run
from toolkit.study import Study
from toolkit.training.process_group import Membership
from toolkit.training.ranks import Order
from toolkit.training.session import Session
from toolkit.training.stop import StopFlag, on_signals
from toolkit.training.threads import prepare


def main(argv: Sequence[str]) -> int:
    """Train the order's tasks as one rank."""
    order = Order.model_validate_json(argv[0])
    study = Study.open(str(order.study))
    declared = study.tasks()
    membership = Membership(order.rank, order.size, order.folder)
    with on_signals() as stop:
        threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
        threads = prepare(order.workers)
        with Session(study, order.data, threads, stop, order.on_corrupt, membership) as session:
            try:
                session.run([declared[task_id] for task_id in order.tasks], order.pack)
            except BaseException as error:  # leaving in order would wait for the other ranks
                complain(f"rank {order.rank} of {order.size}: {error}")
                sys.stderr.flush()
                os._exit(os.EX_SOFTWARE)
        return os.EX_TEMPFAIL if session.preempted else 0


def _end_with_parent(stop: StopFlag) -> None:
    sys.stdin.read()
    stop.set("the end of its parent")


if __name__ == "__main__":
    run(main)
