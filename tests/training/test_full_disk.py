"""Saves that go wrong: on a disk that is really full (a small tmpfs in mounts of its own), or by a signal."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.training.conftest import TINY, changed, errors
from tests.training.test_train import After
from toolkit.train import train
from toolkit.training.checkpoint import drop

DEADLINE_S = 120
ON_SMALL_DISK = 'cp -r "$2" "$3"; mount -t tmpfs -o "size=$1" none "$2"; cp -r "$3/." "$2"; shift 3; "$@"'
"""Arguments: size in bytes, folder, a place for its content, command."""


def wait_for(condition: Callable[[], object], process: subprocess.Popen) -> None:
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.001)


def trains(study, task, data, *before: object) -> subprocess.Popen:
    command = [*before, sys.executable, "-m", "toolkit.train", study.path, task.id, "--data", data, "--workers", 1]
    return subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True)


def small_disk(folder: Path, size: int, aside: Path) -> list[object]:
    """What goes before a command for which ``folder`` is a disk of ``size`` bytes, with the folder's content on it."""
    own_mounts = ["unshare", "--user", "--map-root-user", "--mount"]
    return [*own_mounts, "bash", "-e", "-c", ON_SMALL_DISK, "bash", size, folder, aside]


def begun(study, task, data) -> Path:
    """The task's checkpoint, after its first epoch."""
    assert train(study, [task.id], data=data, workers=1, stop=After(15)).preempted == [task.id]
    return study.checkpoint_folder(task.id) / "latest.pt"


def test_a_full_disk_for_checkpoints_leaves_the_last_good_one(study, declare, data, tmp_path):
    task = declare(recipe=changed(TINY, epochs=2000))
    latest = begun(study, task, data)
    before = latest.read_bytes()
    disk = small_disk(study.room("checkpoints"), int(1.5 * len(before)), tmp_path / "aside")
    process = trains(study, task, data, *disk)
    wait_for(lambda: (seen := study.progress(task.id)) and seen.epoch >= 4, process)
    held = Path(f"/proc/{study.progress(task.id).pid}/root{latest}")  # as the process sees it
    assert held.read_bytes() == before
    os.kill(study.progress(task.id).pid, signal.SIGTERM)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 75
    complaint = next(line for line in said.splitlines() if "cannot be written" in line)
    assert complaint.startswith("error: ") and "No space left on device" in complaint
    assert "epoch 4/2000" in said and "the checkpoint before is kept" in said


def test_a_full_disk_for_results_ends_the_run_in_one_line_and_loses_nothing(study, declare, data, tmp_path):
    task = declare()
    begun(study, task, data)
    (study.room("results") / ".filler").write_bytes(bytes(4096))
    process = trains(study, task, data, *small_disk(study.room("results"), 4096, tmp_path / "aside"))
    patient = next(line for line in process.stderr if "cannot be written" in line)
    assert "tried again for 5 minutes" in patient
    process.send_signal(signal.SIGTERM)  # somebody cannot wait
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("error: ") and "No space left on device" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not study.finished()
    assert train(study, [task.id], data=data, workers=1).done == [task.id]
    resumed = study.result(task.id)
    study.result_path(task.id).unlink()
    train(study, [task.id], data=data, workers=1)
    assert errors(study.result(task.id)) == errors(resumed)


def test_a_result_is_written_as_soon_as_there_is_room(study, declare, data, tmp_path):
    task = declare()
    folder, away = study.room("results"), tmp_path / "away"
    process = trains(study, task, data)
    wait_for(lambda: (seen := study.progress(task.id)) and seen.phase != "starting", process)
    folder.rename(away)
    folder.touch()  # in the way
    assert next(line for line in process.stderr if "cannot be written" in line)
    folder.unlink()
    away.rename(folder)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0 and study.finished() == {task.id}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_during_a_save_leaves_a_whole_checkpoint(study, declare, data, number):
    task = declare(recipe=changed(TINY, epochs=2000))
    latest = begun(study, task, data)
    process = trains(study, task, data)
    wait_for(lambda: (seen := study.progress(task.id)) and seen.pid == process.pid and seen.epoch >= 2, process)
    wait_for(lambda: len(list(latest.parent.iterdir())) > 1, process)  # the temporary file of a save
    for _ in range(2):
        process.send_signal(number)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == (75 if number == signal.SIGTERM else -number), said
    assert torch.load(latest, weights_only=True)["epoch"] >= 2
    assert train(study, [task.id], data=data, workers=1, stop=After(5)).preempted == [task.id]
    assert study.progress(task.id).restarts == 2
    drop(study, task.id)
    assert not list(latest.parent.iterdir())
