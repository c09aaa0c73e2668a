"""What only torch can tell before anything is queued: asked of another process, so that a launch imports no torch."""

import importlib.util
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from toolkit.anynet import architecture
from toolkit.errors import UsageError
from toolkit.study import Dataset, Task

log = logging.getLogger(__name__)
NOT_CHECKED = "note: nets of your own and arguments of models are tried where they train, not here: "


def check_builds(
    tasks: Sequence[Task], datasets: Sequence[Dataset], texts: Mapping[str, str], image: str | None
) -> None:
    """Build each net that has a source file, arguments or stochastic depth, for each number of classes and each side.

    Raises `UsageError` with the first that cannot be built or does not put out logits. With an image, or without torch
    here, nothing is built and a note says so: what the nets import may be there alone.
    """
    classes = {dataset.path.name: len(dataset.manifest.classes) for dataset in datasets}
    built = {
        (t.architecture, classes[t.dataset], t.recipe.resolution, t.recipe.drop_path)
        for t in tasks
        if _is_to_try(t, texts)
    }
    if not built:
        return
    if image or not torch_is_here():
        log.info("%s%s", NOT_CHECKED, f"they may need image {image}" if image else "torch is not installed")
        return
    ask_torch("toolkit.anynet.try_nets", {"texts": dict(texts), "nets": sorted(built)})


def _is_to_try(task: Task, texts: Mapping[str, str]) -> bool:
    """Whether only building the net tells that it can be built: AnyNetX nets and plain models of libraries can."""
    if not (task.recipe.drop_path or {"?", "@"} & set(task.architecture)):
        return False
    return architecture(task.architecture, texts).config is None


def ask_torch(module: str, request: Mapping[str, Any]) -> bytes:
    """What ``python -m MODULE`` prints on ``request``. Raises `UsageError` with its last line where it fails."""
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, input=orjson.dumps(request), capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"ended with status {done.returncode}"]
        raise UsageError(said[-1].removeprefix("error: "))
    return done.stdout


def torch_is_here() -> bool:
    """Whether torch is installed beside the launcher."""
    return importlib.util.find_spec("torch") is not None
