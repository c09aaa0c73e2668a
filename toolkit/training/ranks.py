"""Start the ranks that train tasks together on this node, and end all of them when one cannot go on.

They meet in a file of a folder that is for its owner alone, and talk over the loopback interface: nothing listens where
another machine could reach it.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from toolkit.errors import ToolkitError
from toolkit.study.study import Study
from toolkit.training.processes import join
from toolkit.training.stop import StopFlag
from toolkit.training.threads import allocation

LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}


class Order(BaseModel, frozen=True):
    """What one rank is to do."""

    study: Path
    data: Path
    tasks: tuple[str, ...]
    pack: int
    workers: int
    """Threads of each rank."""
    on_corrupt: Literal["fail", "skip"]
    size: int
    rank: int = 0
    folder: Path = Path()


def train_together(study: Study, order: Order, stop: StopFlag) -> list[str]:
    """Train the order's tasks on all ranks; returns those that were stopped before their end.

    When a rank breaks, all are ended and the tasks without a result go on in new ones, from their checkpoints.
    Raises `ToolkitError` when that brings no task to its end.
    """
    order = order.model_copy(update={"workers": order.workers or max(1, allocation() // order.size)})
    while left := [task for task in order.tasks if task not in study.finished()]:
        order = order.model_copy(update={"tasks": tuple(left)})
        statuses = _run_ranks(order, stop)
        if statuses <= {0, os.EX_TEMPFAIL}:
            return [task for task in left if task not in study.finished()]
        if stop:
            return left
        if all(task not in study.finished() for task in left):
            if order.pack == 1:
                ended = ", ".join(map(str, sorted(statuses - {0, os.EX_TEMPFAIL})))
                raise ToolkitError(
                    f"a rank ended with status {ended} (negative: by that signal); its tasks are not finished: "
                    "run the command again, and they go on from their last checkpoints"
                )
            order = order.model_copy(update={"pack": 1})
    return []


def _run_ranks(order: Order, stop: StopFlag) -> set[int]:
    """Exit statuses of the ranks that ended by themselves."""
    with tempfile.TemporaryDirectory(prefix="ranks-") as folder:  # mode 0700
        orders = [order.model_copy(update={"rank": rank, "folder": Path(folder)}) for rank in range(order.size)]
        return join(map(_start, orders), stop, together=True)


def _start(order: Order) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "toolkit.training.rank", order.model_dump_json()]
    return subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, **LOOPBACK})
