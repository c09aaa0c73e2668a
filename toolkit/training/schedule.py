"""From a recipe to learning rates, resolutions and optimizers."""

import math
from collections.abc import Iterable
from functools import cache
from inspect import unwrap
from typing import Any

from toolkit.study.recipe import Recipe

GRID = 8
"""Progressive resolutions are multiples of this many pixels (our choice)."""


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The rate of the ``step``-th update (0-based, counted over all epochs of ``steps`` updates each).

    cosine: half a period from the peak to zero (Loshchilov, Hutter 2017); step: ``step_factor`` at every
    ``step_epochs``, by default at 1/3 and again at 2/3.
    A warm-up multiplies by a ramp that reaches 1 with its last update.
    """
    done = step / (recipe.epochs * steps)
    decay = {
        "cosine": 0.5 * (1 + math.cos(math.pi * done)),
        "step": recipe.step_factor ** math.floor(_periods(recipe, step, steps)),
        "constant": 1.0,
    }[recipe.schedule]
    warmup = recipe.warmup_epochs * steps
    return recipe.lr * decay * min(1.0, (step + 1) / warmup if warmup else 1.0)


def _periods(recipe: Recipe, step: int, steps: int) -> float:
    """Periods of the step schedule that are over."""
    if recipe.step_epochs is None:
        return step / (recipe.epochs * steps) * 3
    return step / (recipe.step_epochs * steps)


def resolution_at(recipe: Recipe, epoch: int) -> int:
    """Side in pixels of the training crops of an epoch (0-based): ``resolution``, or growing when progressive."""
    if recipe.progressive is None:
        return recipe.resolution
    low, high = recipe.progressive
    share = epoch / max(recipe.epochs - 1, 1)
    return max(GRID, round((low + (high - low) * share) / GRID) * GRID)


def parameter_groups(recipe: Recipe, parameters: Iterable[Any]) -> list[dict[str, Any]]:
    """Trainable parameters, with and without weight decay (vectors go without unless ``decay_norm_and_bias``)."""
    trainable = [p for p in parameters if p.requires_grad]
    exempt = [p for p in trainable if p.ndim <= 1 and not recipe.decay_norm_and_bias]
    spared = {id(p) for p in exempt}
    groups = [
        {"params": [p for p in trainable if id(p) not in spared], "weight_decay": recipe.weight_decay},
        {"params": exempt, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(recipe: Recipe, parameters: Iterable[Any]) -> Any:
    """The recipe's optimizer as one fused kernel a step, where torch has one."""
    import torch

    groups = parameter_groups(recipe, parameters)
    if recipe.optimizer == "adamw":
        return _uncompiled(torch.optim.AdamW)(groups, lr=recipe.lr, fused=True)
    if recipe.optimizer == "rmsprop":
        return _uncompiled(torch.optim.RMSprop)(groups, lr=recipe.lr, alpha=0.9, eps=0.0316, momentum=recipe.momentum)
    nesterov = recipe.nesterov and recipe.momentum > 0
    return _uncompiled(torch.optim.SGD)(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, fused=True)


WRAPPED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


@cache
def _uncompiled(kind: Any) -> Any:
    """An optimizer of torch's without the wrappers that tell its compiler to look away.

    At their first call they import that compiler, which takes longer than torch itself; nothing here is compiled.
    """
    import torch

    bare = {name: unwrap(getattr(kind, name)) for name in WRAPPED}
    return type(kind.__name__, (kind,), {**bare, "step": torch.no_grad()(unwrap(kind.step))})
