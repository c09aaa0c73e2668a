"""The part of the sweep benchmark that needs torch: its import is part of the start-up that is measured."""

import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torchvision import datasets, transforms

from toolkit.benchmarks._scenery import write_beton
from toolkit.engine import device
from toolkit.engine.cost import BACKWARD
from toolkit.engine.learner import Learner
from toolkit.engine.loader import Loader, Pool
from toolkit.engine.session import opened
from toolkit.engine.team import Team
from toolkit.study import Recipe, Task, find_dataset


class Bench:
    """A dataset on disk, and the first nets of the population."""

    def __init__(self, given: Namespace, folder: Path, height: int, width: int, side: int) -> None:
        self.given, self.folder = given, folder
        self.height, self.width, self.side = height, width, side
        self.recipe = Recipe(batch=given.batch, resolution=self.side, epochs=10)
        self.team = Team(device.choose())
        self.device_name = device.describe(self.team.device)
        self.pool = Pool(given.workers)

    def warm_up(self) -> None:
        """Write the images, and pay what the first net of a process pays."""
        images = max(self.given.batch * 4, 256)
        write_beton(self.folder, images, 8, self.height, self.width)
        dataset = find_dataset("dataset", self.folder)
        self.manifest, self.loader = dataset.manifest, Loader(opened(dataset, "train"), self.pool)
        self.feed = device.Feed(self.manifest, self.team.device)
        nets = self.nets(1)
        self.train(nets, self.batches(2))
        complexity = nets[0].architecture.complexity(self.side, 8)
        assert complexity is not None
        self.macs_per_image = (1 + BACKWARD) * complexity.flops

    def nets(self, k: int) -> list[Learner]:
        """The population's first ``k`` nets."""
        tasks = (
            Task(architecture=f"anynetx-500/{i}", dataset="dataset", dataset_hash="", recipe=self.recipe)
            for i in range(k)
        )
        return [Learner(task, self.manifest, 10**6, self.team) for task in tasks]

    def batches(self, steps: int) -> Iterator[Any]:
        """Augmented batches, epoch after epoch."""
        epoch = 0
        while steps > 0:
            for batch in self.loader.train(self.recipe, 0, epoch, self.side):
                yield self.feed(batch)
                steps -= 1
                if not steps:
                    return
            epoch += 1

    def train(self, nets: list[Learner], batches: Iterator[Any]) -> None:
        """One update of each net on each batch, to the end of the device's work."""
        for images, labels in batches:
            for net in nets:
                net.train_batch(images, labels)
        for net in nets:
            net.loss_sum.item()

    def timed(self, nets: list[Learner], batches: Iterator[Any]) -> tuple[float, float]:
        """Seconds of the wall clock and of this process's cores that `train` takes."""
        began, cpu = time.perf_counter(), time.process_time()
        self.train(nets, batches)
        return time.perf_counter() - began, time.process_time() - cpu

    def rates(self, k: int, imports: float) -> dict[str, float]:
        """Model-images a second of the arithmetic, of the sweep, and of the sweep in a fresh process."""
        steps, work = self.given.steps, k * self.given.steps * self.given.batch
        held = next(self.batches(1))
        nets = self.nets(k)
        alone, alone_cpu = self.timed(nets, (held for _ in range(steps)))
        began = time.perf_counter()
        nets = self.nets(k)
        building = time.perf_counter() - began
        together, together_cpu = self.timed(nets, self.batches(steps))
        together += building
        return {
            "arithmetic": work / alone,
            "sweep": work / together,
            "fresh_process": work / (together + imports),
            "share": alone / together,
            "cpu_share": alone_cpu / together_cpu,
        }

    def peer(self) -> float:
        """Model-images a second of one net under a plain loop with torchvision's loading."""
        chain = transforms.Compose(
            [
                transforms.RandomResizedCrop(self.side),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(self.manifest.mean, self.manifest.std),
            ]
        )
        tree = datasets.ImageFolder(self.folder / "tree", chain)
        loader = torch.utils.data.DataLoader(
            tree, self.given.batch, shuffle=True, drop_last=True, num_workers=self.given.workers
        )
        [net] = self.nets(1)
        images, began = 0, time.perf_counter()
        while images < self.given.steps * self.given.batch:
            for pictures, labels in loader:
                pictures = pictures.to(self.team.device, memory_format=torch.channels_last)
                net.train_batch(pictures, labels.to(self.team.device))
                images += len(labels)
        net.loss_sum.item()
        return images / (time.perf_counter() - began)
