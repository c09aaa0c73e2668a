"""Index ranges as Slurm writes them: ``0-7,12``."""

import re
from collections.abc import Iterable

from toolkit.errors import UsageError

MOST = 1_000_000
"""Indices that one text may name (our choice)."""


def parse_ranges(text: str, option: str, end: int | None = None) -> list[int]:
    """The indices that ``text`` names, in its order, each once.

    Raises `UsageError` naming ``option`` when the text is no list of ranges or an index is not below ``end``.

    >>> parse_ranges("0-2,12", "--array", end=500)
    [0, 1, 2, 12]
    """
    indices: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        if not match:
            raise UsageError(f"{option} {text!r}: {part!r} is no index or range; write such as 0-7,12")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"{option} {text!r}: the range {part!r} runs backwards")
        if end is not None and last >= end:
            raise UsageError(f"{option} {text!r}: index {last} is out of range, the last one is {end - 1}")
        if len(indices) + last - first >= MOST:
            raise UsageError(f"{option} {text[:80]!r}: more than {MOST:,} indices by {part!r}")
        indices |= dict.fromkeys(range(first, last + 1))
    return list(indices)


def format_ranges(indices: Iterable[int]) -> str:
    """The shortest text that `parse_ranges` reads back as the same set.

    >>> format_ranges([12, 0, 1, 2])
    '0-2,12'
    """
    runs: list[list[int]] = []
    for index in sorted(set(indices)):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)


def format_members(architectures: Iterable[str]) -> str:
    """Architectures by where they come from, the members of populations as ranges.

    >>> format_members(["anynetx-500/1", "anynetx-500/0", "timm/resnet50d"])
    'anynetx-500/0-1, timm/resnet50d'
    """
    groups: dict[str, list[str]] = {}
    for name in architectures:
        group, _, member = name.partition("/")
        groups.setdefault(group, []).append(member)
    return ", ".join(f"{group}/{format_names(members)}" for group, members in groups.items())


def format_names(members: Iterable[str]) -> str:
    """Numbers as ranges, names as they are, each once."""
    names = sorted(set(members))
    return format_ranges(map(int, names)) if all(name.isdigit() for name in names) else ",".join(names)
