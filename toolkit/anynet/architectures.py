"""Architecture: a string such as ``anynetx-500/17`` or ``torchvision/resnet152``, and what it stands for.

Nothing here imports torch before ``build``: the names of torchvision's and timm's models, their input sizes and the
complexity of some of them are shipped in ``named.json`` (``python -m toolkit.anynet.survey`` writes it).
"""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from toolkit.anynet.config import AnyNetConfig, Complexity
from toolkit.anynet.population import POPULATIONS, load_population
from toolkit.errors import UsageError
from toolkit.names import unknown

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Architecture(ABC):
    """A net that can be named, counted and built."""

    name: str

    @property
    def group(self) -> str:
        """What stands before the slash: the population or the library."""
        return self.name.partition("/")[0]

    @property
    def config(self) -> AnyNetConfig | None:
        """The net's numbers when it is of the AnyNetX space."""
        return None

    def input_size(self, recipe_resolution: int) -> int:
        """Side in pixels of the images the net is really trained on under a recipe."""
        return recipe_resolution

    def attributes(self) -> dict[str, float]:
        """Numbers for the columns of a report; none for a named model."""
        return {}

    @abstractmethod
    def complexity(self, resolution: int, classes: int) -> Complexity | None:
        """Cost of an image with ``resolution`` pixels a side, or None where only building the net would tell."""

    @abstractmethod
    def build(self, classes: int, resolution: int) -> "torch.nn.Module":
        """The net with fresh weights: maps (images, 3, resolution, resolution) to (images, classes) logits."""


@dataclass(frozen=True)
class SampledArchitecture(Architecture):
    """A sampled net of a population."""

    net: AnyNetConfig

    @property
    def config(self) -> AnyNetConfig:
        """The net's numbers."""
        return self.net

    def attributes(self) -> dict[str, float]:
        """Cumulative depth and width, and by stage d1..d4, w1..w4, b1..b4 (divisors), g1..g4."""
        net = self.net
        columns = {"d": net.depths, "w": net.widths, "b": net.bottlenecks, "g": net.group_widths}
        stages = {f"{key}{i}": float(v) for key, values in columns.items() for i, v in enumerate(values, 1)}
        return {"depth": float(net.cumulative_depth), "width": float(net.cumulative_width), **stages}

    def complexity(self, resolution: int, classes: int) -> Complexity:
        """Exact, by formula."""
        return self.net.complexity(resolution, classes)

    def build(self, classes: int, resolution: int) -> "torch.nn.Module":
        """The net takes images of any size; ``resolution`` decides nothing."""
        return self.net.build(classes)


@dataclass(frozen=True)
class LibraryModel(Architecture):
    """A model of torchvision or timm, at the input size it wants."""

    entry: dict[str, Any]
    """``fixed``, or ``minimum`` and ``multiple``: sides in pixels; each is left out where there is no such rule."""

    def input_size(self, recipe_resolution: int) -> int:
        """The model's fixed side, else the recipe's, no smaller than its minimum, up to the multiple it needs."""
        side = max(recipe_resolution, self.entry.get("minimum", 1))
        multiple = self.entry.get("multiple", 1)
        return self.entry.get("fixed") or -(-side // multiple) * multiple

    def complexity(self, resolution: int, classes: int) -> Complexity | None:
        """As surveyed, for the models and resolutions that were."""
        costs = _survey()["complexity"].get(self.name)
        if costs is None or str(resolution) not in costs["body"]:
            return None
        flops, params, activations = costs["body"][str(resolution)]
        head = classes * (costs["features"] + 1)
        return Complexity(flops + head, params + head, activations + classes)

    def build(self, classes: int, resolution: int) -> "torch.nn.Module":
        """As the library builds it, less auxiliary heads. Raises `UsageError` when the library lacks the model."""
        from toolkit.anynet.named import build_named

        return build_named(self.name, classes)


def architecture(name: str) -> Architecture:
    """What ``name`` stands for. Raises `UsageError` with the nearest known names when it stands for nothing."""
    group, _, member = name.partition("/")
    if group in POPULATIONS and load_population(group).configs:
        return _member(name, group, member)
    libraries = _survey()["models"]
    if group in libraries and member in libraries[group]:
        return LibraryModel(name, libraries[group][member])
    if group in libraries:
        raise unknown("architecture", name, [f"{group}/{model}" for model in libraries[group]])
    known = [f"{library}/{model}" for library, models in libraries.items() for model in models]
    namesakes = [model for model in known if model.endswith(f"/{name}")]
    raise unknown("architecture", name, namesakes or known, "or POPULATION/NUMBER, such as anynetx-500/17")


@cache
def _survey() -> dict[str, Any]:
    return json.loads((resources.files("toolkit.anynet") / "named.json").read_text())


def _member(name: str, population: str, number: str) -> SampledArchitecture:
    configs = load_population(population).configs
    if not (number.isascii() and number.isdigit() and int(number) < len(configs)):
        raise UsageError(
            f"unknown architecture {name!r}: the nets are {population}/0 to {population}/{len(configs) - 1}"
        )
    return SampledArchitecture(f"{population}/{int(number)}", configs[int(number)])
