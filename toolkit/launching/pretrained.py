"""Tasks that start from published weights, or from a file of weights: looked up here, never on a node.

The look-up imports torch and the libraries, so it is a process of its own. What it finds is kept in the study as the
final weights of a task, and from there on a start from published weights is a transfer like any other.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from toolkit.errors import UsageError
from toolkit.launching.builds import ask_torch, torch_is_here
from toolkit.study import Study, Task
from toolkit.study.study import WEIGHTS_VERSION
from toolkit.study.task import Start

PUBLISHED = "pretrained"
FILES = (".pth", ".pt", ".bin", ".safetensors")


def names_weights(source: str) -> bool:
    """Whether ``--init-from`` means weights, not a dataset."""
    return source == PUBLISHED or Path(source).suffix in FILES


def started_from_weights(tasks: Sequence[Task], source: str, texts: Mapping[str, str]) -> list[Task]:
    """``tasks``, each with the start from its architecture's published weights or from the file ``source``.

    Raises `UsageError` for an architecture that has none, and for weights that are not here with the line that fetches
    them.
    """
    found = _ask(sorted({task.architecture for task in tasks}), source, texts)
    dataset = PUBLISHED if source == PUBLISHED else Path(source).name
    starts = {name: Start(task=each["task"], dataset=dataset, weights=each["name"]) for name, each in found.items()}
    return [Task.model_validate({**task.model_dump(), "start": starts[task.architecture]}) for task in tasks]


def keep_weights(study: Study, tasks: Sequence[Task], source: str, texts: Mapping[str, str]) -> None:
    """Write into the study what ``tasks`` start from and is not there yet. Raises `ToolkitError`."""
    absent = {task.architecture for task in tasks if task.start and not study.has_final(task.start.task)}
    if absent:
        _ask(sorted(absent), source, texts, study.room("checkpoints"))


def _ask(nets: Sequence[str], source: str, texts: Mapping[str, str], out: Path | None = None) -> dict[str, Any]:
    if not torch_is_here():
        raise UsageError(
            f"--init-from {source}: torch, which reads weights, is not installed here: pip install .[train]"
        )
    file = None if source == PUBLISHED else source
    request = {"nets": nets, "texts": dict(texts), "file": file, "out": out and str(out), "version": WEIGHTS_VERSION}
    return orjson.loads(ask_torch("toolkit.anynet.pretrained", request))
