"""What a recipe does to a whole batch on the device: mixup, CutMix, parts."""

from collections.abc import Callable

from torch import Tensor

from toolkit.errors import UsageError
from toolkit.study.recipe import Recipe

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def mixing(recipe: Recipe, classes: int) -> Mix:
    """torchvision's mixup or CutMix on a batch: labels (batch,) become targets (batch, classes); or nothing.

    What they draw comes from torch's generator, which the trainer seeds anew for every update.
    """
    if not (recipe.mixup or recipe.cutmix):
        return lambda images, labels: (images, labels)
    from torchvision.transforms import v2

    kinds = ((v2.MixUp, recipe.mixup), (v2.CutMix, recipe.cutmix))
    ways = [kind(alpha=alpha, num_classes=classes) for kind, alpha in kinds if alpha]
    mix: Mix = v2.RandomChoice(ways) if len(ways) > 1 else ways[0]
    return mix


def parts_of(recipe: Recipe, ranks: int) -> int:
    """Parts that a rank's batch is computed in. Raises `UsageError` where one would be empty."""
    if recipe.accumulate > recipe.batch // ranks:
        share = recipe.batch // ranks
        raise UsageError(f"accumulate {recipe.accumulate} cuts a rank's {share} images of a batch into empty parts")
    return recipe.accumulate
