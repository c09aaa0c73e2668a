"""From a selection to tasks, and from tasks to what one array element or worker takes at a time. Pure functions."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product

from toolkit.errors import UsageError
from toolkit.study import Dataset, Task, load_recipe


def make_tasks(
    architectures: Sequence[str],
    datasets: Sequence[Dataset],
    recipe: str,
    changes: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
) -> list[Task]:
    """Every architecture on every dataset with every seed; all of a dataset's tasks stand together.

    Raises `UsageError` for an unknown recipe or field, and for a batch that no dataset's epoch holds.
    """
    recipes = {d.manifest.name: load_recipe(recipe, d.manifest.name, changes) for d in datasets}
    for dataset in datasets:
        batch, images = recipes[dataset.manifest.name].batch, dataset.manifest.splits["train"].samples
        if batch > images:
            raise UsageError(
                f"a batch of {batch} is larger than {dataset.path} ({images} images): --set batch={images}"
            )
    return [
        Task(
            architecture=architecture,
            dataset=dataset.path.name,
            dataset_hash=dataset.manifest.content_hash,
            manifest_hash=dataset.manifest.manifest_hash,
            recipe=recipes[dataset.manifest.name],
            recipe_name=recipe,
            seed=seed,
        )
        for dataset, seed, architecture in product(datasets, seeds, architectures)
    ]


PER_JOB_WHEN_MEASURED = 8
"""Tasks of an element that sizes its packs itself: what packs can be made of (our choice)."""


def element_size(per_job: int | None, pack: int, gpus: int = 1) -> int:
    """Tasks of an element, see `make_elements`."""
    return max(per_job, pack) if per_job else gpus * (pack or PER_JOB_WHEN_MEASURED)


def make_elements(
    tasks: Mapping[str, Task], per_job: int | None = None, pack: int = 1, gpus: int = 1
) -> list[tuple[str, ...]]:
    """Task ids by array index: at most ``max(per_job, pack)`` in an element, all of one dataset, recipe and seed.

    An element's tasks share one loader, so that start-up is paid once and packs can be formed. ``pack`` 0: their
    size is measured where they run. ``per_job`` None: one pack, or `PER_JOB_WHEN_MEASURED`, for each of its ``gpus``.
    """
    groups: dict[tuple[str, str, int], list[str]] = defaultdict(list)
    for task_id, task in tasks.items():
        groups[task.dataset_hash, task.recipe.model_dump_json(), task.seed].append(task_id)
    size = element_size(per_job, pack, gpus)
    return [tuple(ids[i : i + size]) for ids in groups.values() for i in range(0, len(ids), size)]
