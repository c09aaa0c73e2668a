"""A device that breaks under one net, and memory that is short beside another, in an element on the real Slurm.

There is no GPU here: the nets themselves raise what PyTorch raises then.
"""

from pathlib import Path

import pytest

from slurm.cluster import Cluster
from tests.executors.conftest import launch, status, wait_for
from toolkit.study import Study

NETS = """
import os
import torch
from torch import nn

class Good(nn.Sequential):
    def __init__(self, num_classes, width=8):
        super().__init__(nn.Conv2d(3, width, 3, 2), nn.BatchNorm2d(width), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))

class Breaks(Good):
    def forward(self, images):
        if self.training and "SLURM_ARRAY_TASK_ID" in os.environ:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return super().forward(images)

class Large(Good):
    crowded = True

    def forward(self, images):
        if self.training and Large.crowded and "SLURM_ARRAY_TASK_ID" in os.environ:
            Large.crowded = False
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super().forward(images)
"""


@pytest.mark.cluster
def test_after_a_device_broke_the_element_goes_on_in_a_new_process(
    cluster: Cluster, data: Path, tmp_path: Path, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mynets.py").write_text(NETS)
    study = Study(tmp_path / "study")
    what = ["--dataset", "tiny", "--set", "lr=0.01", "--executor", "slurm", "--profile", profile]
    (job,) = launch(study.path, data, "--models", "./mynets.py:Breaks", "./mynets.py:Good", *what, "--per-job", 2)[
        "jobs"
    ]
    launch(study.path, data, "--models", "./mynets.py:Large", "./mynets.py:Good?width=6", *what, "--pack", 2)
    wait_for(lambda: len(study.finished()) == 4, 180, "all results")
    nets = {task.architecture.rpartition("/")[2]: study.result(i) for i, task in study.tasks().items()}
    assert nets["Breaks"].status == "failed" and "illegal memory access" in nets["Breaks"].failure.message
    assert {nets[name].status for name in ("Good", "Large", "Good?width=6")} <= {"done", "diverged"}, status(study.path)
    assert "Restarts=1" in cluster.slurm("scontrol", "show", "job", f"{job}_0").stdout
    assert (nets["Good?width=6"].provenance.pack, nets["Large"].provenance.pack) == (2, 1)
