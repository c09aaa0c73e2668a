"""Answers to unknown names: the nearest known ones."""

import difflib
from collections.abc import Iterable

from toolkit.errors import UsageError


def unknown(kind: str, name: str, known: Iterable[str], advice: str = "") -> UsageError:
    """The error for a name nobody knows, with the nearest known names (or all, when they are few).

    >>> str(unknown("executor", "slurn", ["slurm", "local"]))
    "unknown executor 'slurn': did you mean slurm? (known: local, slurm)"
    >>> str(unknown("study", "demo", []))
    "unknown study 'demo' (known: none)"
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" did you mean {', '.join(near)}?" if near else ""
    listing = f" (known: {', '.join(names) or 'none'})" if len(names) <= 30 else f" ({len(names)} known)"
    return UsageError(f"unknown {kind} {name!r}:{hint}{listing}{' ' + advice if advice else ''}".replace(": (", " ("))
