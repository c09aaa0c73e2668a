"""The AnyNetX design space, its populations, and named models of torchvision and timm."""

from toolkit.anynet.architectures import Architecture, architecture
from toolkit.anynet.config import AnyNetConfig, Complexity
from toolkit.anynet.population import POPULATIONS, Population, load_population
from toolkit.anynet.sampler import sample

__all__ = [
    "POPULATIONS",
    "AnyNetConfig",
    "Architecture",
    "Complexity",
    "Population",
    "architecture",
    "load_population",
    "sample",
]
