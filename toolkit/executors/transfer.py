"""Tasks that start from what the same architecture learnt on another dataset."""

from collections.abc import Sequence

from toolkit.engine.starts import FINAL
from toolkit.errors import UsageError
from toolkit.study import Study, Task
from toolkit.study.task import Start


def started_from(tasks: Sequence[Task], study: Study, source: str) -> list[Task]:
    """``tasks``, each with the start from dataset ``source``: same architecture and seed, trained in this study.

    Raises `UsageError` that names what has no checkpoint there, or more than one.
    """
    trained: dict[tuple[str, int], list[str]] = {}
    for task_id, task in study.tasks().items():
        if task.dataset == source and task.start is None and (study.checkpoint_folder(task_id) / FINAL).is_file():
            trained.setdefault((task.architecture, task.seed), []).append(task_id)
    found = [trained.get((task.architecture, task.seed), []) for task in tasks]
    missing = sorted({task.architecture for task, ids in zip(tasks, found, strict=True) if not ids})
    if missing:
        listed = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise UsageError(f"--init-from {source}: no final weights in study {study.path} of {listed}: train them there")
    if doubled := [ids for ids in found if len(ids) > 1]:
        raise UsageError(
            f"--init-from {source}: tasks {' and '.join(doubled[0])} both trained it; use a study for each"
        )
    starts = (Start(task=ids[0], dataset=source) for ids in found)
    return [
        Task.model_validate({**task.model_dump(), "start": start}) for task, start in zip(tasks, starts, strict=True)
    ]
