"""How many nets a pack should hold: enough that loading hardly counts, as many as there is memory for."""

import math
import os
import time
from itertools import cycle, islice
from typing import NamedTuple

import torch

from toolkit.study.task import Task
from toolkit.training.device import DeviceTransfer
from toolkit.training.graphs import WARM_UP
from toolkit.training.loader import AHEAD
from toolkit.training.pack_context import PackContext
from toolkit.training.policies import training_batches
from toolkit.training.trainer import Trainer

LOADING = 0.05
"""Share of the computing time that loading may take where both share the processor (our choice)."""
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
    kept: int
    """Bytes that each net keeps: weights, their gradients and momentum."""
    shared: int
    """Bytes that the net at work takes beside them, once for a pack: its nets compute in turns."""
    overlaps: bool
    """Whether loading goes on beside computing (a GPU computes), and costs nothing while it is the shorter one."""


def pack_size(need: Need, free: int) -> int:
    """The smallest pack that hides its loading, within `ROOM` of ``free`` bytes; at least 1, at most `LARGEST`.

    Loading is hidden when it is no longer than the computing beside it or, on one processor, `LOADING` of it.
    """
    wanted = math.ceil(need.load_s / (need.step_s * (1 if need.overlaps else LOADING)))
    return max(1, min(wanted, int((ROOM * free - need.shared) / need.kept), LARGEST))


def measure(place: PackContext, task: Task) -> Need:
    """Load and train on a few batches with a net that is thrown away. Raises what building or training it raises."""
    recipe, before = task.recipe, _start_of_memory(place.device)
    steps = place.train.steps(recipe.batch)
    trainer = Trainer(task, place.manifest, steps, place.team, place.texts, place.record, place.ways)
    side = max(trainer.side(epoch) for epoch in range(recipe.epochs))
    began = time.perf_counter()
    batches = [batch for batch, _ in zip(training_batches(place, task, 0, side), range(AHEAD), strict=False)]
    load_s = (time.perf_counter() - began) / len(batches)
    feed, seconds = DeviceTransfer(place.manifest, place.device), []
    updates = AHEAD + (WARM_UP if place.record else 0)  # so that some are replayed: what a pack's are
    for batch in islice(cycle(batches), updates):
        images, labels = feed(batch)
        began = time.perf_counter()
        trainer.train_batch(images, labels)
        trainer.train_loss()
        seconds.append(time.perf_counter() - began)
    del images, labels
    kept, shared = _memory_since(before) if before is not None else _estimate(trainer, recipe.batch, side)
    return Need(load_s, min(seconds), kept, shared, overlaps=before is not None)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on the device; for a CPU, of the machine (the job's own limit where Slurm gives one).

    What PyTorch's allocator holds back for itself on a GPU and nothing uses is free.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    granted = os.environ.get("SLURM_MEM_PER_NODE")
    machine = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(machine, int(granted) << 20) if granted else machine


def _start_of_memory(device: torch.device) -> int | None:
    """Bytes in use on a GPU, from which on the peak is measured anew; None for a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    return int(torch.cuda.memory_allocated(device))


def _memory_since(before: int) -> tuple[int, int]:
    """What a net that has learnt keeps on the GPU, and what it took beside that at its peak; bytes."""
    kept = int(torch.cuda.memory_allocated()) - before
    return kept, int(torch.cuda.max_memory_allocated()) - before - kept


def _estimate(trainer: Trainer, batch: int, side: int) -> tuple[int, int]:
    """The same for a CPU, which counts nothing: from weights, and activations (output and gradient, conv and norm)."""
    weights = sum(parameter.numel() for parameter in trainer.net.parameters())
    complexity = trainer.architecture.complexity(side, trainer.classes)
    activations = complexity.activations if complexity else weights
    return 4 * COPIES * weights, 4 * COPIES * batch * activations
