"""Families: nets that are variants of one design are drawn together, not one by one."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from toolkit.analysis.measurements import Measurements
from toolkit.analysis.settings import Settings
from toolkit.analysis.table_source import Reading
from toolkit.names import unknown
from toolkit.stats.intervals import FAMILIES_FROM
from toolkit.stats.resampling import Draws

NONE = "none"
"""What ``--cluster`` is given for nets drawn one by one."""
LIBRARY = re.compile(r"(?:timm|torchvision|hub|hf-hub:[^/]+|[^/]+@[^/]+)/")
SAMPLED = re.compile(r"\w+-\d+/\d+")
"""A net that a population's sampler drew on its own: ``anynetx-500/17``."""


def with_families(data: Measurements, cluster: str | None) -> Measurements:
    """``data`` with the family of each net, by the column ``cluster`` or by the nets' names.

    Names tell families when some share their first word (``resnet18`` and ``resnet50``) and not all do. Families that a
    table's own column told stay. Raises `UsageError` for a column that the nets have not.
    """
    if cluster == NONE:
        return replace(data, families=(), families_by="")
    if data.families:
        return data
    if cluster is not None:
        return replace(data, families=_by_column(data, cluster), families_by=f"column '{cluster}'")
    named = tuple(family_of(name) for name in data.architectures)
    sizes = Counter(named)
    if not 1 < len(sizes) < len(named):
        return data
    if len(sizes) >= FAMILIES_FROM:
        return replace(data, families=named, families_by="the first word of their names")
    few = (
        f"by their names the nets come from {len(sizes)} families, too few to draw ({FAMILIES_FROM}): intervals take "
        "nets as drawn one by one and may be too narrow (--cluster none leaves this line out)"
    )
    return replace(data, problems=(*data.problems, few))


def with_cluster(reading: Reading, cluster: str | None) -> Reading:
    """How a table is read whose column ``cluster`` has its nets' families."""
    if cluster in (None, NONE):
        return reading
    return replace(reading, cluster=cluster)


def family_of(name: str) -> str:
    """The first word of a net's name without library, number and version: efficientnet of ``timm/efficientnetv2_s``.

    A net of a sampled population is a family of its own.
    """
    if SAMPLED.fullmatch(name):
        return name
    word = re.match(r"[a-z]+", LIBRARY.sub("", name.strip().lower(), count=1))
    return re.sub(r"(?<=..)v$", "", word[0]) if word else name


def _by_column(data: Measurements, column: str) -> tuple[str, ...]:
    known = [c for c in data.attributes.columns if c != "architecture"]
    if column not in known:
        raise unknown("column of the architectures", column, known, "for --cluster; or none")
    names = pl.DataFrame({"architecture": data.architectures})
    told = names.join(data.attributes, on="architecture", how="left", maintain_order="left")[column].to_list()
    return tuple(name if value is None else f"{value:g}" for name, value in zip(data.architectures, told, strict=True))


def draws(data: Measurements, settings: Settings, rows: ArrayLike | None = None) -> Draws:
    """How the architectures of ``data``, or those that the mask ``rows`` keeps, are resampled."""
    if not data.families:
        return Draws(settings.resamples, settings.seed)
    labels = np.unique(np.array(data.families), return_inverse=True)[1].astype(np.int64)
    drawn = Draws(settings.resamples, settings.seed, labels)
    return drawn if rows is None else drawn.among(np.asarray(rows))


def families_in_words(data: Measurements) -> str:
    """A sentence on how nets were drawn, for the finding; empty where they were drawn one by one."""
    if not data.families:
        return ""
    count = len(set(data.families))
    few = f": fewer than {FAMILIES_FROM}, so that no interval can be given" if count < FAMILIES_FROM else ""
    return (
        f"Intervals draw whole families, {count} of {len(data.families)} nets by {data.families_by}{few} "
        "(--cluster none draws nets one by one)."
    )
