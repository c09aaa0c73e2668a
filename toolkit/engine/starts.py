"""Where the weights lie that a transfer starts from. Light: the launcher asks before it submits."""

from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.study.study import Study

FINAL = "final.pt"


def find_final(study: Study, task_id: str) -> Path:
    """Final weights of a task in this study or in one beside it. Raises `ToolkitError` when there are none."""
    own = study.checkpoint_folder(task_id) / FINAL
    beside = study.path.parent.glob(f"*/checkpoints/{task_id}/{FINAL}")
    found = own if own.is_file() else next(iter(sorted(beside)), None)
    if found is None:
        raise ToolkitError(f"no {own}, nor in the studies beside {study.path}: train task {task_id} first")
    return found
