"""Versions of what a task's program is made of; run inside an image it tells what the image has.

python -m toolkit.cluster.versions [MODULE ...]      those besides the shared ones; by default what training needs
"""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec

import toolkit
from toolkit.cli import run, say
from toolkit.errors import UsageError

SHARED = ("numpy", "orjson", "pydantic")
"""Libraries that launcher and task both use: they should read each other's files the same way."""
TRAINING = ("ffcv", "timm", "torch", "torchvision")
"""What only the task needs."""


def versions(needed: Sequence[str] = TRAINING) -> dict[str, str | None]:
    """Version of each part; None: not installed here. Nothing heavy is imported."""
    parts = {name: metadata.version(name) if find_spec(name) else None for name in (*SHARED, *needed)}
    return {"python": platform.python_version(), "toolkit": toolkit.__version__, **parts}


def compare(inside: Mapping[str, str | None], image: str, needed: Sequence[str] = TRAINING) -> list[str]:
    """What differs between here and the image, one line each.

    Raises `UsageError` when it lacks a needed module, or is not of the same toolkit.
    """
    here = versions(())
    if missing := [name for name in needed if not inside[name]]:
        raise UsageError(f"image {image} lacks {', '.join(missing)}: build it anew from containers/, or name another")
    if inside["toolkit"] != here["toolkit"]:
        raise UsageError(f"image {image} has toolkit {inside['toolkit']}, here is {here['toolkit']}: build it anew")
    pairs = ((name, here[name], inside[name]) for name in ("python", *SHARED))
    return [f"{name} is {there} in the image, {mine} here" for name, mine, there in pairs if there != mine]


def main(argv: Sequence[str]) -> int:
    """Print the versions as one JSON document."""
    say(json.dumps(versions(argv or TRAINING)))
    return 0


if __name__ == "__main__":
    run(main)
