"""Published studies, shipped: their measurements, what they printed, and what they claimed; and published rankings."""

import tomllib
from importlib import resources
from typing import Any

from toolkit.names import unknown


def reference_names() -> list[str]:
    """Names of the shipped studies."""
    files = resources.files("toolkit.references").iterdir()
    return sorted(item.name[:-5] for item in files if item.name.endswith(".toml"))


def reference(name: str) -> dict[str, Any]:
    """The description of a shipped study. Raises `UsageError` for an unknown name."""
    if name not in reference_names():
        raise unknown("reference", name, reference_names())
    return tomllib.loads((resources.files("toolkit.references") / f"{name}.toml").read_text())


def reference_csv(name: str) -> bytes:
    """The measurements of a shipped study, as CSV."""
    return (resources.files("toolkit.references") / f"{name}.csv").read_bytes()


RANKINGS = {
    "imagenet@torchvision": "top-1 accuracy of each model's first ImageNet-1k weights, as torchvision 0.29 states it",
    "imagenet@timm": "top-1 accuracy of each model's default weights: results/results-imagenet.csv of"
    " pytorch-image-models, commit aa4b585, 2026-08-08; weights whose tag names in21k, in22k, clip, ... saw more than"
    " ImageNet-1k",
}
"""Published accuracies of libraries' models on ImageNet (facts), with their provenance."""


def ranking_csv(name: str) -> bytes:
    """A table of `RANKINGS`, as CSV: ``architecture``, ``weights`` (which of the model's), ``accuracy`` (percent)."""
    return (resources.files("toolkit.references") / f"{name}.csv").read_bytes()
