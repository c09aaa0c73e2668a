"""Conditions: under what tasks train, in words, for whoever reads their errors."""

from collections.abc import Iterable

from toolkit.study.ranges import format_ranges
from toolkit.study.task import Task


def conditions(tasks: Iterable[Task]) -> list[str]:
    """A line for each recipe: its name, epochs, resolution in pixels, batch and seeds, and its datasets by content."""
    found: dict[str, tuple[set[int], dict[str, None]]] = {}
    for task in tasks:
        seeds, datasets = found.setdefault(_recipe(task), (set(), {}))
        seeds.add(task.seed)
        datasets[f"{task.column} ({task.dataset_hash[:8]})"] = None
    return [
        f"{recipe}, seed{'s' * (len(seeds) > 1)} {format_ranges(seeds)}; data: {', '.join(datasets)}"
        for recipe, (seeds, datasets) in found.items()
    ]


def _recipe(task: Task) -> str:
    recipe = task.recipe
    sides = " and ".join(str(side) for side in dict.fromkeys((recipe.resolution, recipe.resolution_at_evaluation)))
    return (
        f"recipe {task.recipe_name or 'without a name'}: {recipe.epochs} epochs at {sides} pixels, batch {recipe.batch}"
    )
