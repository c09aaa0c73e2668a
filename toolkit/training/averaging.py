"""A moving average of a net's weights, beside the net that learns."""

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
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

    @torch.no_grad()
    def update(self, net: nn.Module, done: int) -> None:
        """Take in the weights after the ``done``-th update, counted from 1.

        As `AveragedModel.update_parameters`, which moves its count to the device each time, and so waits for it.
        """
        if done % self._every:
            return
        count = self._average.n_averaged
        if done <= self._warmup:
            count.zero_()
        kinds: dict[torch.dtype, list[tuple[Tensor, Tensor]]] = {}
        for pair in zip(_tensors(self.net), _tensors(net), strict=True):
            kinds.setdefault(pair[0].dtype, []).append(pair)
        for pairs in kinds.values():
            own, now = zip(*pairs, strict=True)
            if count:
                self._average.multi_avg_fn(own, now, count)
            else:
                torch._foreach_copy_(own, now)
        count += 1

    def state(self) -> dict[str, Any]:
        """What `load` takes."""
        state: dict[str, Any] = self._average.state_dict()
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's average."""
        self._average.load_state_dict(state)


def _tensors(net: nn.Module) -> list[Tensor]:
    return [each.detach() for each in chain(net.parameters(), net.buffers())]
