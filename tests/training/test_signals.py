import os
import signal
import subprocess
import sys
import time

import pytest

from tests.training.conftest import TINY, changed

DEADLINE_S = 60


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_leaves_a_checkpoint_and_status_75(study, declare, data, number):
    task = declare(recipe=changed(TINY, epochs=2000))
    command = [
        sys.executable,
        "-m",
        "toolkit.train",
        str(study.path),
        task.id[:8],
        "--data",
        str(data),
        "--workers",
        "1",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + DEADLINE_S
    while not ((seen := study.progress(task.id)) and seen.epoch >= 1) and time.monotonic() < until:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    os.kill(process.pid, number)
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 75 and f"stopped by {number.name}" in said
    assert study.progress(task.id).phase == "preempted" and not study.finished()
    assert (study.checkpoint_folder(task.id) / "latest.pt").is_file()
