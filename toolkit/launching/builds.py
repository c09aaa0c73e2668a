"""Nets of the user's own are built once before anything is queued, in a process of their own: it imports torch."""

import importlib.util
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence

import orjson

from toolkit.errors import UsageError
from toolkit.study import Dataset, Task

log = logging.getLogger(__name__)
NOT_CHECKED = "note: nets of your own and arguments of models are tried where they train, not here: "


def check_builds(
    tasks: Sequence[Task], datasets: Sequence[Dataset], texts: Mapping[str, str], image: str | None
) -> None:
    """Build each net that has a source file or arguments, for each number of classes and each side it is trained on.

    Raises `UsageError` with the first that cannot be built or does not put out logits. With an image, or without torch
    here, nothing is built and a note says so: what the nets import may be there alone.
    """
    classes = {dataset.path.name: len(dataset.manifest.classes) for dataset in datasets}
    built = {
        (t.architecture, classes[t.dataset], t.recipe.resolution)
        for t in tasks
        if "?" in t.architecture or "@" in t.architecture
    }
    if not built:
        return
    if image or importlib.util.find_spec("torch") is None:
        log.info("%s%s", NOT_CHECKED, f"they may need image {image}" if image else "torch is not installed")
        return
    request = orjson.dumps({"texts": dict(texts), "nets": sorted(built)})
    command = [sys.executable, "-m", "toolkit.anynet.try_nets"]
    done = subprocess.run(command, input=request, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"ended with status {done.returncode}"]
        raise UsageError(said[-1].removeprefix("error: "))
