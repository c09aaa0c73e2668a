import os
import subprocess
import sys

import pytest

from tests.training.conftest import TINY, changed
from toolkit.train import train


def test_two_processes_train_one_task_and_lose_no_image(study, declare, data):
    """ConvNeXt has neither batch norm nor dropout: two processes do the arithmetic of one, up to the order of sums."""
    recipe = changed(TINY, epochs=1, lr=0.001, resolution=32)
    task = declare("timm/convnext_atto", recipe=recipe)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = ["-m", "toolkit.train", str(study.path), task.id, "--data", str(data), "--workers", "1"]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert study.finished() == {task.id}, done.stderr
    together = study.result(task.id)
    assert [e.images for e in together.evaluations] == [40]
    study.result_path(task.id).unlink()
    train(study, [task.id], data=data, workers=1)
    alone = study.result(task.id)
    assert together.evaluations[0].loss == pytest.approx(alone.evaluations[0].loss, rel=1e-3)
    assert together.evaluations[0].train_loss == pytest.approx(alone.evaluations[0].train_loss, rel=1e-3)
