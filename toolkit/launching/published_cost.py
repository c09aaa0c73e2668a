"""What a published study would cost to run again, from the sizes of its datasets: none of them need be here."""

from itertools import chain
from typing import Any

from toolkit.errors import UsageError
from toolkit.launching.cost import Cost, Size, estimate
from toolkit.launching.gpu_rates import hours_on_a_gpu
from toolkit.launching.request import LaunchRequest
from toolkit.launching.selection import find_nets
from toolkit.references import reference
from toolkit.study import Task, load_recipe


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
    tasks = {
        dataset: [Task(architecture=net, dataset=dataset, dataset_hash="", recipe=recipe) for net in nets]
        for dataset, recipe in recipes.items()
    }
    costs = {dataset: estimate(each, sizes.__getitem__, texts) for dataset, each in tasks.items()}
    any_cost = next(iter(costs.values()))
    return {
        "study": name,
        "tasks": len(nets) * len(costs),
        "images": sum(cost.images for cost in costs.values()),
        "flops": sum(cost.flops for cost in costs.values()),
        "hours": round(sum(cost.hours for cost in costs.values()), 1),
        "hours_on": f"{any_cost.device} ({any_cost.basis})",
        **hours_on_a_gpu(list(chain(*tasks.values())), sizes.__getitem__, request.rates),
        "uncounted": sum(cost.uncounted for cost in costs.values()),
        "datasets": {dataset: _row(recipes[dataset].epochs, sizes[dataset], cost) for dataset, cost in costs.items()},
    }


def _row(epochs: int, size: Size, cost: Cost) -> dict[str, float]:
    return {
        "train": size.train,
        "epochs": epochs,
        "images": cost.images,
        "flops": cost.flops,
        "hours": round(cost.hours, 1),
    }
