"""The part of the sweep benchmark that needs torch: the population's first nets, trained in the ways to compare."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torchvision import datasets, transforms

from toolkit.launching.cost import BACKWARD
from toolkit.study import Dataset, Task
from toolkit.training import device
from toolkit.training.graphs import WARM_UP, cuda_graph
from toolkit.training.loader import Loader, Pool, pageable
from toolkit.training.process_group import ProcessGroup
from toolkit.training.session import opened
from toolkit.training.trainer import Trainer
from toolkit.ways import Way

Batches = Iterator[Any]


class Bench:
    """Nets, one a task, that are trained for nothing; the tasks share dataset, recipe and seed.

    ``ways``: what a GPU does other than PyTorch's own.
    """

    def __init__(self, dataset: Dataset, tasks: Sequence[Task], workers: int, ways: Sequence[Way] = ()) -> None:
        self.dataset, self.recipe, self.workers = dataset, tasks[0].recipe, workers
        self.team = ProcessGroup(device.choose())
        self.device_name = device.describe(self.team.device)
        self.feed = device.DeviceTransfer(dataset.manifest, self.team.device)
        allocate = device.pinned if "pinned-batches" in ways else pageable
        self.loader = Loader(opened(dataset, "train"), Pool(workers), allocate=allocate)
        self.steps = self.loader.steps(self.recipe.batch)
        record = cuda_graph if "cuda-graphs" in ways else None
        self.nets = [Trainer(t, dataset.manifest, self.steps, self.team, {}, record, tuple(ways)) for t in tasks]
        [self.held] = self.loaded(1)
        self.train(self.nets, self.in_memory(WARM_UP + 1))  # the first sight of a shape is slow, and then recorded

    def macs_per_image(self) -> float:
        """Multiply-adds of a training image, in the mean over the nets."""
        classes = len(self.dataset.manifest.classes)
        counts = [net.architecture.complexity(self.recipe.resolution, classes) for net in self.nets]
        return (1 + BACKWARD) * sum(count.flops for count in counts if count) / len(counts)

    def in_memory(self, count: int) -> Batches:
        """The same batch again and again."""
        return (self.held for _ in range(count))

    def loaded(self, count: int) -> Batches:
        """Augmented batches from a loader that starts cold."""
        epochs = range(-(-count // self.steps))
        batches = (b for e in epochs for b in self.loader.train(self.recipe, 0, e, self.recipe.resolution))
        return (self.feed(batch) for batch, _ in zip(batches, range(count), strict=False))

    def by_torchvision(self, images: Path) -> Batches:
        """Endless batches of a folder of image files, by a DataLoader whose workers stay."""
        manifest = self.dataset.manifest
        chain = transforms.Compose(
            [
                transforms.RandomResizedCrop(self.recipe.resolution),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(manifest.mean, manifest.std),
            ]
        )
        loader = torch.utils.data.DataLoader(
            datasets.ImageFolder(images, chain),
            self.recipe.batch,
            shuffle=True,
            drop_last=True,
            num_workers=self.workers,
            persistent_workers=True,
        )
        while True:
            for pictures, labels in loader:
                on_device = pictures.to(self.team.device, memory_format=torch.channels_last)
                yield on_device, labels.to(self.team.device)

    def train(self, nets: Sequence[Trainer], batches: Batches) -> None:
        """One update of each net on each batch, to the end of the device's work."""
        for images, labels in batches:
            for net in nets:
                net.train_batch(images, labels)
                net.step %= self.steps
        for net in nets:
            net.loss_sum.item()

    def train_singly(self, batches: Callable[[], Batches]) -> None:
        """The nets one after another, each on batches of its own."""
        for net in self.nets:
            self.train([net], batches())

    def rates(self, steps: int, rounds: int, images: Path | None) -> dict[str, dict[str, float]]:
        """Model-images a second of each way of training, and their share of the arithmetic's: medians of the rounds.

        In a round every way makes ``steps`` updates of all nets; the order is turned round from one to the next.
        ``images``: files for torchvision's loading, as a further way.
        """
        ways = {
            "arithmetic": lambda: self.train(self.nets, self.in_memory(steps)),
            "pack": lambda: self.train(self.nets, self.loaded(steps)),
            "one by one": lambda: self.train_singly(lambda: self.loaded(steps)),
        }
        if images:
            endless = self.by_torchvision(images)
            ways["torchvision"] = lambda: self.train_singly(lambda: (next(endless) for _ in range(steps)))
        rounds_s = [_timed(ways, forwards=bool(i % 2)) for i in range(rounds)]
        work = len(self.nets) * steps * self.recipe.batch
        return {
            name: {
                "rate": median(work / spent[name] for spent in rounds_s),
                "share": median(spent["arithmetic"] / spent[name] for spent in rounds_s),
            }
            for name in ways
        }

    def stop_and_compute(self) -> None:
        """Stop (SIGSTOP); woken, do the arithmetic of all epochs and evaluations on the one batch in memory."""
        os.kill(os.getpid(), signal.SIGSTOP)
        evaluations = self.dataset.manifest.splits["val"].samples // self.recipe.batch
        for _ in range(self.recipe.epochs):
            self.train(self.nets, self.in_memory(self.steps))
            for net in self.nets:
                net.start_evaluation()
                for images, labels in self.in_memory(evaluations):
                    net.evaluate_batch(images, labels)
                net.loss_sum.item()


def _timed(ways: dict[str, Callable[[], None]], forwards: bool) -> dict[str, float]:
    seconds = {}
    for name in list(ways) if forwards else reversed(ways):
        began = time.perf_counter()
        ways[name]()
        seconds[name] = time.perf_counter() - began
    return seconds
