"""Architecture: a string such as ``anynetx-500/17`` or ``timm/resnet18?drop_path_rate=0.1``, and what it stands for.

Nothing here imports torch before ``build``: the names of torchvision's and timm's models, their input sizes and the
complexity of some of them are shipped in ``named.json`` (``python -m toolkit.anynet.survey`` writes it).
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from toolkit.anynet.arguments import parse_arguments, spell_arguments
from toolkit.anynet.config import AnyNetConfig, Complexity
from toolkit.anynet.frozen import FrozenPopulation, Texts, kept_text
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
        """What stands before the slash: the population, the library or the file."""
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
    def build(self, classes: int, resolution: int, drop_path: float = 0.0) -> "torch.nn.Module":
        """The net with fresh weights: maps (images, 3, resolution, resolution) to (images, classes) logits.

        ``drop_path``: rate of its stochastic depth; 0: as the net is made. Raises `UsageError` where it has none.
        """


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

    def build(self, classes: int, resolution: int, drop_path: float = 0.0) -> "torch.nn.Module":
        """The net takes images of any size; ``resolution`` decides nothing."""
        return self.net.build(classes, drop_path)


@dataclass(frozen=True)
class LibraryModel(Architecture):
    """A model of torchvision or timm with its arguments, at the input size it wants."""

    model: str
    """``timm/resnet18``; the name has the arguments besides, or is that of a variant."""
    entry: Mapping[str, Any]
    """``fixed``, or ``minimum`` and ``multiple``: sides in pixels; each is left out where there is no such rule."""
    arguments: Mapping[str, Any]

    def input_size(self, recipe_resolution: int) -> int:
        """The model's fixed side, else the recipe's, no smaller than its minimum, up to the multiple it needs."""
        side = max(recipe_resolution, self.entry.get("minimum", 1))
        multiple = self.entry.get("multiple", 1)
        return int(self.entry.get("fixed") or -(-side // multiple) * multiple)

    def complexity(self, resolution: int, classes: int) -> Complexity | None:
        """As surveyed, for the models and resolutions that were; arguments may change it, so None with any."""
        costs = _survey()["complexity"].get(self.model)
        if costs is None or str(resolution) not in costs["body"] or self.arguments:
            return None
        flops, params, activations = costs["body"][str(resolution)]
        head = classes * (costs["features"] + 1)
        return Complexity(flops + head, params + head, activations + classes)

    def build(self, classes: int, resolution: int, drop_path: float = 0.0) -> "torch.nn.Module":
        """As the library builds it, less auxiliary heads. Raises `UsageError` when the library lacks the model."""
        from toolkit.anynet.named import build_named

        key = "stochastic_depth_prob" if self.model.startswith("torchvision/") else "drop_path_rate"
        depth = {key: drop_path} if drop_path else {}
        return build_named(self.model, classes, {**depth, **self.arguments})


@dataclass(frozen=True)
class OwnNet(Architecture):
    """A callable of a user's source file: called with ``num_classes`` and the arguments, it gives the net."""

    origin: str
    """``mynets@9f86d081884c``."""
    member: str
    text: str
    arguments: Mapping[str, Any]

    def complexity(self, resolution: int, classes: int) -> None:
        """Only building the net would tell."""

    def build(self, classes: int, resolution: int, drop_path: float = 0.0) -> "torch.nn.Module":
        """Run the source, call the callable, try the net on two images.

        Raises `UsageError` when one of these fails, or what comes out is no module or has another shape than
        (images, classes).
        """
        from toolkit.anynet.own import build_own

        depth = {"drop_path_rate": drop_path} if drop_path else {}
        return build_own(self.origin, self.text, self.member, {**depth, **self.arguments}, classes, resolution)


IMAGE_SIDES = ("img_size", "image_size")
"""Arguments of timm's and torchvision's models that fix the side of their images."""
NO_TEXTS: Texts = {}


def architecture(name: str, texts: Texts = NO_TEXTS) -> Architecture:
    """What ``name`` stands for; ``texts``: the sources and populations that a study has kept.

    Raises `UsageError` with the nearest known names when it stands for nothing.
    """
    base, arguments = parse_arguments(name)
    group, _, member = base.partition("/")
    if "@" in group:
        return _frozen(name, group, member, arguments, texts)
    if group in POPULATIONS and load_population(group).configs:
        _refuse(arguments, name)
        return _member(name, group, member)
    libraries = _survey()["models"]
    if group in libraries and member in libraries[group]:
        sides = [{"fixed": arguments[key]} for key in IMAGE_SIDES if key in arguments]
        return LibraryModel(spell_arguments(base, arguments), base, (*sides, libraries[group][member])[0], arguments)
    if group in libraries:
        raise unknown("architecture", name, [f"{group}/{model}" for model in libraries[group]])
    known = [f"{library}/{model}" for library, models in libraries.items() for model in models]
    namesakes = [model for model in known if model.endswith(f"/{base}")]
    raise unknown("architecture", name, namesakes or known, "or POPULATION/NUMBER, such as anynetx-500/17")


def _refuse(arguments: Mapping[str, Any], name: str) -> None:
    if arguments:
        raise UsageError(f"{name}: a net of a population takes no arguments")


def _frozen(name: str, group: str, member: str, arguments: Mapping[str, Any], texts: Texts) -> Architecture:
    """A net of a kept source or population."""
    if (source := kept_text(texts, group, ".py")) is not None:
        return OwnNet(name, group, member, source, arguments)
    if (text := kept_text(texts, group, ".json")) is None:
        raise UsageError(
            f"{name}: the study has no nets/{group}.json, nor a .py there that is yours and that nobody else can "
            "write: launch it again with the file it came from"
        )
    population = FrozenPopulation.of(text)
    _refuse(arguments, name)
    if member in population.variants:
        return replace(architecture(population.variants[member], texts), name=name)
    if not (member.isascii() and member.isdigit() and int(member) < len(population.nets)):
        raise UsageError(f"unknown architecture {name!r}: {group} has {len(population.nets)} nets, counted from 0")
    return SampledArchitecture(name, population.nets[int(member)])


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
