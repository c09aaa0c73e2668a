"""A moving average of a net's weights, beside the net that learns."""

from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from toolkit.study.recipe import Recipe


class WeightAverage:
    """An exponential moving average of weights and buffers: every ``ema_every`` updates, by the decay ``ema``.

    Through the warm-up it is a copy, as in torchvision's reference training.
    """

    def __init__(self, net: nn.Module, recipe: Recipe, steps: int) -> None:
        assert recipe.ema is not None
        self._average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)
        self._average.requires_grad_(False)
        self._every = recipe.ema_every
        self._warmup = recipe.warmup_epochs * steps

    @property
    def net(self) -> nn.Module:
        """The net with the averaged weights."""
        module: nn.Module = self._average.module
        return module

    @property
    def begun(self) -> bool:
        """Whether there was an update to average."""
        return bool(self._average.n_averaged.item())

    def update(self, net: nn.Module, done: int) -> None:
        """Take in the weights after the ``done``-th update, counted from 1."""
        if done % self._every == 0:
            if done <= self._warmup:
                self._average.n_averaged.zero_()  # so that the next line copies
            self._average.update_parameters(net)

    def state(self) -> dict[str, Any]:
        """What `load` takes."""
        state: dict[str, Any] = self._average.state_dict()
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's average."""
        self._average.load_state_dict(state)
