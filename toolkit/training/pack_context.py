"""What packs of nets on one dataset work with."""

from dataclasses import dataclass

import torch

from toolkit.anynet import Texts
from toolkit.study.dataset import Manifest
from toolkit.study.study import Study
from toolkit.training.graphs import Record
from toolkit.training.heartbeat import Heartbeat
from toolkit.training.loader import Loader
from toolkit.training.process_group import ProcessGroup
from toolkit.training.stop import StopFlag
from toolkit.ways import Way


@dataclass(frozen=True)
class PackContext:
    """A study, one of its datasets with both loaders, and the process that trains on it."""

    study: Study
    manifest: Manifest
    train: Loader
    val: Loader
    team: ProcessGroup
    stop: StopFlag
    heartbeat: Heartbeat
    texts: Texts
    """What the study has kept of nets of the user's own."""
    pause: int | None = None
    """Epochs after which a task is saved and left."""
    record: Record | None = None
    """Records the nets' updates, where they can be."""
    ways: tuple[Way, ...] = ()
    """What becomes of sampled nets, see `Trainer`."""

    @property
    def device(self) -> torch.device:
        """Where the nets compute."""
        return self.team.device
