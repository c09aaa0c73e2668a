"""Several ranks train one task together: started by the toolkit, over gloo where there is no GPU."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist

from tests.training.conftest import TINY, changed
from toolkit.imagefile.reader import Beton
from toolkit.train import main, train
from toolkit.training.process_group import Membership, ProcessGroup
from toolkit.training.ranks import LOOPBACK


@pytest.mark.parametrize("batch", [16, 15])
def test_two_ranks_train_one_task_and_lose_no_image(study, declare, data, batch):
    """ConvNeXt has neither batch norm nor dropout: two ranks do the arithmetic of one, up to the order of sums.

    Of a batch of 15 one rank has 8 samples and the other 7; each sample weighs the same.
    """
    task = declare("timm/convnext_atto", recipe=changed(TINY, epochs=1, lr=0.01, resolution=32, batch=batch))
    assert train(study, [task.id], data=data, workers=1, ranks=2).done == [task.id]
    together = study.result(task.id)
    assert [e.images for e in together.evaluations] == [40]
    study.result_path(task.id).unlink()
    train(study, [task.id], data=data, workers=1)
    alone = study.result(task.id)
    assert together.evaluations[0].loss == pytest.approx(alone.evaluations[0].loss, rel=1e-4)
    assert together.evaluations[0].train_loss == pytest.approx(alone.evaluations[0].train_loss, rel=1e-4)


def test_a_corrupt_sample_in_one_share_ends_all_ranks(study, declare, data, tmp_path):
    shutil.copytree(data / "stripes", tmp_path / "stripes")
    beton = Beton.open(tmp_path / "stripes" / "train.beton")
    content = bytearray(beton.path.read_bytes())
    at = content.find(b"\xff\xd8\xff")
    content[at : at + 200] = bytes(200)
    beton.path.write_bytes(content)
    task = declare(recipe=changed(TINY, epochs=1))
    arguments = [str(study.path), task.id, "--data", str(tmp_path), "--workers", "1", "--ranks", "2"]
    assert main(arguments) == 1
    failure = study.result(task.id).failure
    assert failure.kind == "CorruptSample" and "sample 0" in failure.message


WAITS = """
import os, signal, sys
from pathlib import Path
import torch
from toolkit.training import process_group
from toolkit.training.failures import partner_lost
from toolkit.training.process_group import Membership, ProcessGroup
process_group.COLLECTIVE_S = 3
rank = int(os.fork() == 0)
team = ProcessGroup(torch.device("cpu"), Membership(rank, 2, Path(sys.argv[1])))
assert team.any(rank == 1)
if rank == 1:
    os.kill(os.getpid(), signal.SIGSTOP)
try:
    team.any(False)
except RuntimeError as error:
    os._exit(0 if partner_lost(error) else 3)
os._exit(4)
"""


def test_a_rank_that_hangs_is_not_waited_for_for_ever(tmp_path):
    """It is stopped between two collectives; the other one gives the second up, and knows whose fault it is."""
    ranks = subprocess.Popen(
        [sys.executable, "-c", WAITS, str(tmp_path)], env=os.environ | LOOPBACK, start_new_session=True
    )
    try:
        assert ranks.wait(60) == 0
    finally:
        os.killpg(ranks.pid, signal.SIGKILL)  # the other one is still there


def test_to_ask_whether_to_stop_waits_for_no_gpu(tmp_path, monkeypatch):
    """What is shared at every batch lies in the processor's memory, and a backend for that is there beside NCCL."""
    asked = []
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **options: asked.append(backend))
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: asked.append(tensor.device.type))
    team = ProcessGroup(torch.device("cuda", 0), Membership(0, 2, tmp_path))
    assert team.any(True) and not team.any(False)
    assert asked == ["cpu:gloo,cuda:nccl", "cpu", "cpu"]
