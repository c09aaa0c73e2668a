"""What happens to a training picture after crop and flip: an augmentation policy, and random erasing.

The operations and their ranges are torchvision's. Which of them, how strongly and in which direction is drawn by
counting (`toolkit.training.augment`), because torchvision draws from torch's one generator, in whose order threads,
packs and a resume would have a say.
"""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from toolkit.study.recipe import Recipe
from toolkit.study.task import Task
from toolkit.training.augment import DRAWS, Floats, Ints, random_crops, uniforms
from toolkit.training.loader import AHEAD, CHUNK, Batch

if TYPE_CHECKING:
    from toolkit.training.pack_context import PackContext

POLICY = 1 << 32
"""Epochs from here on number the draws of policies; from twice that, those of erasing: no training has so many."""
POLICY_DRAWS = 5
BINS = 31
"""Strengths of an operation of RandAugment and TrivialAugment."""
OPERATIONS = 2
"""Of RandAugment."""
ERASED = (0.02, 0.33)
"""Share of the crop that is erased, and below the box's width over height (Zhong et al. 2020, as in torchvision)."""
ERASED_RATIO = (0.3, 3.3)

Operation = tuple[str, float]
"""Name and magnitude, as torchvision has them."""


def training_batches(place: "PackContext", task: Task, epoch: int, side: int, first: int = 0) -> Iterator[Batch]:
    """The batches of an epoch from step ``first`` on, augmented as the task's recipe says."""
    recipe = task.recipe
    batches = place.train.train(recipe, task.seed, epoch, side, first, place.team.share)
    if recipe.auto_augment == "none" and not recipe.erasing:
        return batches
    return _augmented(batches, place, task, epoch)


def _augmented(batches: Iterator[Batch], place: "PackContext", task: Task, epoch: int) -> Iterator[Batch]:
    """The same batches, worked on by the loader's threads, a few ahead."""
    policy = Policy(task.recipe, task.seed, place.manifest.mean)
    waiting: deque[tuple[Batch, list[Any]]] = deque()
    for batch in batches:
        parts = [slice(start, start + CHUNK) for start in range(0, len(batch.samples), CHUNK)]
        waiting.append((batch, [place.train.pool.submit(policy.apply, batch, part, epoch) for part in parts]))
        if len(waiting) > AHEAD:
            yield _finished(*waiting.popleft())
    while waiting:
        yield _finished(*waiting.popleft())


def _finished(batch: Batch, parts: list[Any]) -> Batch:
    for part in parts:
        part.result()
    return batch


class Policy:
    """What a recipe does to pictures, for a seed; ``mean``: the colour of erased boxes, 0..1 by channel."""

    def __init__(self, recipe: Recipe, seed: int, mean: tuple[float, ...]) -> None:
        self.recipe, self.seed = recipe, seed
        self.colour = np.rint(255 * np.array(mean)).astype(np.uint8)

    def apply(self, _decoder: object, batch: Batch, part: slice, epoch: int) -> None:
        """Change the pictures of a part of a batch where they lie."""
        samples, images = batch.samples[part], batch.images[part]
        if self.recipe.auto_augment != "none":
            draws = uniforms(self.seed, POLICY + epoch, samples, POLICY_DRAWS)
            for image, row in zip(images, draws, strict=True):
                apply_operations(image, operations(self.recipe, row.tolist(), image.shape[0]))
        if self.recipe.erasing:
            self._erase(images, uniforms(self.seed, 2 * POLICY + epoch, samples, DRAWS))

    def _erase(self, images: Any, draws: Floats) -> None:
        sides: Ints = np.full(len(images), images.shape[1], np.int64)
        boxes = random_crops(draws, sides, sides, ERASED, ERASED_RATIO)
        for i in np.flatnonzero(draws[:, -1] < self.recipe.erasing):
            top, left, height, width = boxes[i]
            images[i, top : top + height, left : left + width] = self.colour


def operations(recipe: Recipe, draws: list[float], side: int) -> list[Operation]:
    """What the recipe's policy does to a picture with ``side`` pixels; ``draws``: `POLICY_DRAWS` uniform numbers."""
    from torchvision.transforms import autoaugment

    if recipe.auto_augment == "trivialaugment":
        space = autoaugment.TrivialAugmentWide()._augmentation_space(BINS)
        return [_operation(space, _chosen(list(space), draws[0]), _chosen(range(BINS), draws[1]), draws[2])]
    if recipe.auto_augment == "randaugment":
        space = autoaugment.RandAugment()._augmentation_space(BINS, (side, side))
        pairs = [draws[2 * i : 2 * i + 2] for i in range(OPERATIONS)]
        return [_operation(space, _chosen(list(space), kind), recipe.magnitude, sign) for kind, sign in pairs]
    auto = autoaugment.AutoAugment()
    space = auto._augmentation_space(10, (side, side))
    steps = zip(_chosen(auto.policies, draws[0]), draws[1:3], draws[3:5], strict=True)
    return [_operation(space, name, bin_, sign) for (name, share, bin_), at, sign in steps if at < share]


def _chosen(among: Any, draw: float) -> Any:
    return among[int(draw * len(among))]


def _operation(space: Any, name: str, strength: int | None, sign: float) -> Operation:
    magnitudes, signed = space[name]
    size = float(magnitudes[strength]) if magnitudes.ndim else 0.0
    return name, -size if signed and sign < 0.5 else size


def apply_operations(image: Any, steps: list[Operation]) -> None:
    """Change an RGB picture, uint8 (side, side, 3), by torchvision's operations on a PIL image, bilinear.

    Its reference training interpolates so, its transforms do not by default.
    """
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.autoaugment import _apply_op

    picture = Image.fromarray(image)
    for name, magnitude in steps:
        picture = _apply_op(picture, name, magnitude, interpolation=InterpolationMode.BILINEAR, fill=None)
    image[...] = np.asarray(picture)
