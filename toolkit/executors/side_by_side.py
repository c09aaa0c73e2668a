"""Several GPUs in one array element: a process for each, with one GPU and every n-th of the element's tasks."""

import os
import signal
import subprocess
import time
from collections.abc import Collection, Sequence

from toolkit.cluster.brake import SOME_FAILED
from toolkit.training.stop import StopFlag

LOOK_S = 0.1
"""Seconds between looks at the processes: none of them tells when it ends, and the flag may be up at any time."""


def run_side_by_side(command: Sequence[str], devices: Sequence[str], stop: StopFlag) -> int:
    """Run ``command I N`` for each of N devices, and return one exit status for all.

    A request to stop is handed on. A process that breaks does not end the others: their tasks are their own.
    """
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for i, name in enumerate(devices):
            own = {**os.environ, "CUDA_VISIBLE_DEVICES": name}
            processes.append(subprocess.Popen([*command, str(i), str(len(devices))], env=own))
        return joined(_wait(processes, stop))
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _wait(processes: Sequence["subprocess.Popen[bytes]"], stop: StopFlag) -> set[int]:
    """Exit statuses, once all have ended. One that was asked to stop before it could listen has saved all it had."""
    asked = False
    while True:
        statuses = [process.poll() for process in processes]
        ended = {status for status in statuses if status is not None}
        if None not in statuses:
            return {os.EX_TEMPFAIL if asked and status == -signal.SIGTERM else status for status in ended}
        if stop and not asked:
            asked = True
            for process in processes:
                process.send_signal(signal.SIGTERM)
        time.sleep(LOOK_S)


def joined(statuses: Collection[int]) -> int:
    """The element's exit status, from those of its processes (negative: ended by that signal).

    What saved itself goes on when the element is queued again, and what broke is then tried again; else a process that
    broke decides, as it would have alone.
    """
    if os.EX_TEMPFAIL in statuses:
        return os.EX_TEMPFAIL
    broken = [status if status > 0 else 128 - status for status in statuses if status not in (0, SOME_FAILED)]
    return max(broken, default=max(statuses))
