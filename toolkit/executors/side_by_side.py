"""Several GPUs in one array element: a process for each, with one GPU and every n-th of the element's tasks."""

import os
import subprocess
from collections.abc import Collection, Sequence

from toolkit.cluster.brake import SOME_FAILED
from toolkit.training.processes import join
from toolkit.training.stop import StopFlag


def run_side_by_side(command: Sequence[str], devices: Sequence[str], stop: StopFlag) -> int:
    """Run ``command I N`` for each of N devices, and return one exit status for all.

    A request to stop is handed on. A process that breaks does not end the others: their tasks are their own.
    """

    def start(i: int, name: str) -> "subprocess.Popen[bytes]":
        own = {**os.environ, "CUDA_VISIBLE_DEVICES": name}
        return subprocess.Popen([*command, str(i), str(len(devices))], env=own)

    return joined(join((start(i, name) for i, name in enumerate(devices)), stop))


def joined(statuses: Collection[int]) -> int:
    """The element's exit status, from those of its processes (negative: ended by that signal).

    What saved itself goes on when the element is queued again, and what broke is then tried again; else a process that
    broke decides, as it would have alone.
    """
    if os.EX_TEMPFAIL in statuses:
        return os.EX_TEMPFAIL
    broken = [status if status > 0 else 128 - status for status in statuses if status not in (0, SOME_FAILED)]
    return max(broken, default=max(statuses))
