"""How many nets a pack should hold: enough that loading hardly counts, as many as there is memory for."""

import math
import os
import time
from typing import NamedTuple

import torch

from toolkit.study.task import Task
from toolkit.training.device import DeviceTransfer
from toolkit.training.loader import AHEAD
from toolkit.training.pack_context import PackContext
from toolkit.training.policies import training_batches
from toolkit.training.trainer import Trainer

LOADING = 0.05
"""Share of the computing time that loading may take (our choice)."""
LARGEST = 32
ROOM = 0.7
"""Share of the free memory that a pack may fill: nets of a population differ."""
COPIES = 4
"""Tensors of the size of the weights that a net keeps: weights, gradients, momentum, and one for work."""


class Need(NamedTuple):
    """What one net of a pack was seen to take."""

    load_s: float
    """Seconds of loading a batch."""
    step_s: float
    """Seconds of an update on it."""
    bytes: int
    """Memory of the net at work."""


def pack_size(need: Need, free: int) -> int:
    """The smallest pack in which loading is `LOADING` of the computing, within `ROOM` of ``free`` bytes; at least 1."""
    wanted = math.ceil(need.load_s / (LOADING * need.step_s))
    return max(1, min(wanted, int(ROOM * free / need.bytes), LARGEST))


def measure(place: PackContext, task: Task) -> Need:
    """Load and train on a few batches with a net that is thrown away. Raises what building or training it raises."""
    recipe = task.recipe
    trainer = Trainer(task, place.manifest, place.train.steps(recipe.batch), place.team, place.texts)
    side = max(trainer.side(epoch) for epoch in range(recipe.epochs))
    began = time.perf_counter()
    batches = [batch for batch, _ in zip(training_batches(place, task, 0, side), range(AHEAD), strict=False)]
    load_s = (time.perf_counter() - began) / len(batches)
    feed, seconds = DeviceTransfer(place.manifest, place.device), []
    for batch in batches:
        images, labels = feed(batch)
        began = time.perf_counter()
        trainer.train_batch(images, labels)
        trainer.train_loss()
        seconds.append(time.perf_counter() - began)
    return Need(load_s, min(seconds), _bytes(trainer, recipe.batch, side))


def free_memory(device: torch.device) -> int:
    """Bytes that are free on the device; for a CPU, of the machine (the job's own limit where Slurm gives one)."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    granted = os.environ.get("SLURM_MEM_PER_NODE")
    machine = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(machine, int(granted) << 20) if granted else machine


def _bytes(trainer: Trainer, batch: int, side: int) -> int:
    """On a GPU the peak that was seen; on a CPU weights and activations (output and gradient, conv and norm)."""
    if trainer.device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(trainer.device))
    weights = sum(parameter.numel() for parameter in trainer.net.parameters())
    complexity = trainer.architecture.complexity(side, trainer.classes)
    activations = complexity.activations if complexity else weights
    return 4 * (COPIES * weights + COPIES * batch * activations)
