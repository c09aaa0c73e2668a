"""The AnyNetX design space, its populations, named models of torchvision and timm, and nets of one's own."""

from toolkit.anynet.architectures import Architecture, architecture
from toolkit.anynet.config import AnyNetConfig, Complexity
from toolkit.anynet.frozen import Freezer, Texts
from toolkit.anynet.population import POPULATIONS, Population, load_population
from toolkit.anynet.sampler import sample

__all__ = [
    "POPULATIONS",
    "AnyNetConfig",
    "Architecture",
    "Complexity",
    "Freezer",
    "Population",
    "Texts",
    "architecture",
    "load_population",
    "sample",
]
