"""What a net does with a batch recorded once as a CUDA graph and replayed: one launch in place of some 800.

Small pictures leave a GPU waiting for the processor that launches its kernels (docs/benchmarks/gpu.md). A recorded
update or evaluation runs the same kernels on the same memory, so nothing that differs between batches may come from
Python: batch, learning rate and counts lie in tensors that stay where they are.
"""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from toolkit.study.recipe import Recipe

Work = Callable[[], None]
Record = Callable[[Work], Work]
"""Takes down what a piece of work asks of the device, without doing it; what it returns does it."""
Step = Callable[[Tensor, Tensor], None]
"""An update, or an evaluation, on a batch of images and labels."""
WARM_UP = 3
"""Batches of one shape before a step is recorded: cuDNN chooses in them, and the optimizer makes its momentum."""


def recordable(recipe: Recipe, population: bool, ranks: int) -> bool:
    """Whether a net's steps can be recorded: a sampled net, trained by SGD in one process.

    Nets of other people's may look at values on the device, which breaks a recording; torch's other optimizers count
    their steps in Python, or want to be made for it.
    """
    return population and recipe.optimizer == "sgd" and ranks == 1


def cuda_graph(work: Work) -> Work:
    """Record ``work`` as a CUDA graph.

    All graphs of a process share one pool of memory, for nets take turns and none reads what it left there the last
    time. Other threads may go on using the device meanwhile.
    """
    pool, _ = _pool()
    replay: Work = _captured(work, pool).replay
    return replay


@cache
def _pool() -> tuple[Any, Any]:
    """A pool, and a graph without work that stays in it.

    PyTorch records nothing more into a pool whose graphs are all gone while memory of it is in use (`use_count > 0` in
    c10's CUDACachingAllocator.cpp): the gradients of a net that is recorded anew are, and cuBLAS keeps what it works in
    for good. torch's own compiler keeps such a graph, too (`_inductor/cudagraph_trees.py`).
    """
    pool = torch.cuda.graph_pool_handle()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The CUDA Graph is empty")
        return pool, _captured(lambda: None, pool)


def _captured(work: Work, pool: Any) -> Any:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        work()
    return graph


class RecordedStep:
    """A step that is recorded after `WARM_UP` batches of one shape; a batch of another shape is done as ever."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._last: Any = None
        self._in_a_row = 0
        self._recorded: Any = None
        self._replay: Work | None = None

    def __call__(self, step: Step, images: Tensor, labels: Tensor) -> None:
        """Do ``step`` on ``images`` (batch, 3, side, side) and ``labels`` (batch,), or (batch, classes) where mixed.

        It is the same at each call, and not kept: whose it is would be freed by a collection of cycles alone.
        """
        shape = (images.shape, labels.shape, labels.dtype)
        self._in_a_row = self._in_a_row + 1 if shape == self._last else 1
        self._last = shape
        if shape != self._recorded:
            if self._in_a_row <= WARM_UP:
                return step(images, labels)
            self._take_down(step, images, labels)
            self._recorded = shape
        assert self._replay is not None
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._replay()

    def _take_down(self, step: Step, images: Tensor, labels: Tensor) -> None:
        self._replay = None  # the old recording's memory serves the new one
        self._images, self._labels = images.clone(), labels.clone()
        self._replay = self._record(lambda: step(self._images, self._labels))
