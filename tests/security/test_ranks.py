"""An attack over the network on ranks that train together: whatever listens, another machine must not reach it."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.security.test_one_machine_slurm import listeners
from tests.training.conftest import TINY, changed
from toolkit.study.progress import Progress

DEADLINE_S = 120
LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


def test_two_ranks_listen_on_the_loopback_interface_alone(study, declare, data):
    task = declare(recipe=changed(TINY, epochs=2000))
    command = [sys.executable, "-m", "toolkit.train", str(study.path), task.id, "--data", str(data)]
    outward = next((name for _, name in socket.if_nameindex() if name != "lo"), "lo")
    process = subprocess.Popen(
        [*command, "--workers", "1", "--ranks", "2"],
        env={**os.environ, "GLOO_SOCKET_IFNAME": outward},  # as a site may set it for work over several nodes
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until, seen = time.monotonic() + DEADLINE_S, None
        while not (isinstance(seen, Progress) and seen.epoch >= 1):
            assert process.poll() is None and time.monotonic() < until, "no epoch was trained"
            seen = study.progress(task.id)
            time.sleep(0.1)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2
        found = {address for address, _ in listeners([process.pid, *children])}
        assert found and found <= LOOPBACK
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 75
