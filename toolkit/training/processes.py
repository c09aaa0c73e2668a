"""Wait for processes that work side by side on this node, hand on a request to stop, leave none behind."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable

from toolkit.training.stop import StopFlag

LOOK_S = 0.1
"""Seconds between looks at the processes: none of them tells when it ends, and the flag may be up at any time."""


def join(processes: "Iterable[subprocess.Popen[bytes]]", stop: StopFlag, *, together: bool = False) -> set[int]:
    """Wait for all processes, asking them to stop when the flag is up, and return the statuses of those that ended.

    ``together``: as soon as one breaks the rest is killed, which may wait for it in a collective. One that was asked to
    stop before it could listen has saved all it had: its status is `os.EX_TEMPFAIL`, too.
    """
    started: list[subprocess.Popen[bytes]] = []
    asked = False
    try:
        started.extend(processes)
        while True:
            statuses = [process.poll() for process in started]
            ended = {status for status in statuses if status is not None}
            if None not in statuses or (together and ended - {0, os.EX_TEMPFAIL}):
                return {os.EX_TEMPFAIL if asked and status == -signal.SIGTERM else status for status in ended}
            if stop and not asked:
                asked = True
                for process in started:
                    process.terminate()
            time.sleep(LOOK_S)
    finally:
        for process in started:
            process.kill()
            process.communicate()
