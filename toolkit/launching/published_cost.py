"""What a published study would cost to run again, from the sizes of its datasets: none of them need be here."""

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.errors import UsageError
from toolkit.launching.cost import GPU, Cost, Size, estimate, gpu_hours
from toolkit.launching.request import POPULATION, LaunchRequest
from toolkit.launching.selection import find_nets
from toolkit.references import reference
from toolkit.study import Recipe, Task, load_recipe


def published_cost(name: str, request: LaunchRequest) -> dict[str, Any]:
    """The cost of a launch's nets on each dataset of the study ``name``, by its recipe.

    Raises `UsageError` for a study that is not shipped, or whose datasets' sizes are not.
    """
    sizes = {dataset: Size(*row) for dataset, row in reference(name).get("sizes", {}).items()}
    if not sizes:
        raise UsageError(f"--published {name}: the sizes of its datasets are not shipped; tuggener2022 has them")
    if request.dataset:
        raise UsageError("--published counts all datasets of that study: leave --dataset out")
    array = request.array or (None if request.names_nets else "0-499")
    nets, texts = find_nets(array, request.population, request.models, {})
    recipes = {dataset: load_recipe(request.recipe or name, dataset, request.changes) for dataset in sizes}
    costs = {
        dataset: estimate(
            [Task(architecture=net, dataset=dataset, dataset_hash="", recipe=recipe) for net in nets],
            sizes.__getitem__,
            texts,
        )
        for dataset, recipe in recipes.items()
    }
    any_cost = next(iter(costs.values()))
    return {
        "study": name,
        "tasks": len(nets) * len(costs),
        "images": sum(cost.images for cost in costs.values()),
        "flops": sum(cost.flops for cost in costs.values()),
        "hours": round(sum(cost.hours for cost in costs.values()), 1),
        "hours_on": f"{any_cost.device} ({any_cost.basis})",
        "gpu_hours": _gpu_hours(nets, recipes, sizes),
        "gpu": GPU,
        "uncounted": sum(cost.uncounted for cost in costs.values()),
        "datasets": {dataset: _row(recipes[dataset].epochs, sizes[dataset], cost) for dataset, cost in costs.items()},
    }


def _gpu_hours(nets: Sequence[str], recipes: Mapping[str, Recipe], sizes: Mapping[str, Size]) -> float | None:
    """Of all nets on all datasets; None where such nets, or images so large, were not measured."""
    each = [gpu_hours(recipe, sizes[dataset], len(nets)) for dataset, recipe in recipes.items()]
    known = [hours for hours in each if hours is not None]
    sampled = all(net.startswith(f"{POPULATION}/") for net in nets)
    return round(sum(known), 1) if sampled and len(known) == len(each) else None


def _row(epochs: int, size: Size, cost: Cost) -> dict[str, float]:
    return {
        "train": size.train,
        "epochs": epochs,
        "images": cost.images,
        "flops": cost.flops,
        "hours": round(cost.hours, 1),
    }
