"""Who is who among the datasets: the reference, its subsets, its size controls, the targets."""

import re
from typing import NamedTuple

from toolkit.analysis.headings import bare
from toolkit.analysis.measurements import Measurements
from toolkit.analysis.settings import Settings
from toolkit.errors import UsageError
from toolkit.names import unknown
from toolkit.study.dataset import USUAL_REFERENCE


class Subset(NamedTuple):
    """A dataset of some of the reference's classes: ``imagenet-10``, or ``imagenet-10.3`` for its third draw."""

    name: str
    classes: int
    draw: int


class Roles(NamedTuple):
    """All by name, in the order of the data."""

    reference: str
    subsets: list[Subset]
    controls: list[str]
    """All classes with few images each: ``imagenet-1000-10``. They tell fewer classes from fewer images."""
    targets: list[str]


def roles(data: Measurements, settings: Settings) -> Roles:
    """Read the roles off the names. Raises `UsageError` for a reference or target that is no dataset of ``data``."""
    for name in (*settings.targets, *([settings.reference] if settings.reference else [])):
        if name not in data.datasets:
            raise unknown("dataset", name, data.datasets)
    usual = next((name for name in data.datasets if bare(name.partition("@")[0]) == USUAL_REFERENCE), data.datasets[0])
    usual = USUAL_REFERENCE if USUAL_REFERENCE in data.datasets else usual
    reference = settings.reference or usual
    if reference in settings.targets:
        raise UsageError(f"{reference} is the reference and cannot be a target too")
    children = [name for name in data.datasets if name.startswith(reference + "-")]
    subsets = [subset for name in children if (subset := _subset(name, reference))]
    controls = [name for name in children if re.fullmatch(r"\d+-\d+(\.\d+)?", name[len(reference) + 1 :])]
    derived = {*controls, *(subset.name for subset in subsets)}
    rest = [name for name in data.datasets if name != reference and name not in derived]
    return Roles(reference, subsets, controls, list(settings.targets) or rest)


def _subset(name: str, reference: str) -> Subset | None:
    found = re.fullmatch(r"(\d+)(?:\.(\d+))?", name[len(reference) + 1 :])
    return Subset(name, int(found[1]), int(found[2] or 0)) if found else None
