"""Where the weights lie that a transfer starts from. Light: the launcher asks before it submits."""

from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.study.outcomes import read_outcome
from toolkit.study.study import FINAL, Study


def find_final(study: Study, task_id: str) -> Path:
    """Final weights of a task of this study. Raises `ToolkitError` when there are none."""
    if found := study.final_weights(task_id):
        return found
    result = study.result_path(task_id)
    why = ": ".join(filter(None, read_outcome(result)[:2])) if result.is_file() else "not finished"
    raise ToolkitError(
        f"no {study.checkpoint_folder(task_id) / FINAL} "
        f"(task {task_id} is {why}): train it first, then launch with --retry failed"
    )
