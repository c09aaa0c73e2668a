"""Populations: named, frozen, shipped lists of architectures."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from toolkit.anynet.config import AnyNetConfig
from toolkit.names import unknown

FOLDER = resources.files("toolkit.anynet") / "populations"
POPULATIONS = sorted(Path(file.name).stem for file in FOLDER.iterdir() if file.name.endswith(".json"))


@dataclass(frozen=True)
class Population:
    """A list of architectures whose order is part of its meaning: ``--array 17`` is the same net for ever."""

    name: str
    title: str
    architectures: list[str]
    configs: tuple[AnyNetConfig, ...] = ()
    """The nets of a sampled population, in the order of ``architectures``."""
    seed: int | None = None
    """What `toolkit.anynet.sample` drew the nets from."""

    def __len__(self) -> int:
        return len(self.architectures)


@cache
def load_population(name: str) -> Population:
    """A shipped population. Raises `UsageError` with the known ones for another name."""
    if name not in POPULATIONS:
        raise unknown("population", name, POPULATIONS)
    document = json.loads((FOLDER / f"{name}.json").read_text())
    if "models" in document:
        return Population(name, document["title"], document["models"])
    configs = tuple(AnyNetConfig(*stages) for stages in document["nets"])
    names = [f"{name}/{i}" for i in range(len(configs))]
    return Population(name, document["title"], names, configs, document["seed"])
