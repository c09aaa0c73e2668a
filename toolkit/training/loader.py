"""Batches from a ``.beton``: decoded by threads, a few ahead, the same whoever computes them."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import local
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from toolkit.errors import ToolkitError
from toolkit.imagefile.crops import CorruptSample, Decoder
from toolkit.imagefile.format import Pixels
from toolkit.imagefile.reader import Beton
from toolkit.study.recipe import Recipe
from toolkit.training.augment import DRAWS, center_crops, order, random_crops, uniforms

Ints = npt.NDArray[np.int64]

AHEAD = 3
"""Batches in work or waiting besides the one in use: what bounds the memory."""
CHUNK = 16
"""Samples that one thread decodes at a time."""


Allocate = Callable[[tuple[int, ...]], Pixels]
"""Memory of a shape that a batch's images are decoded into."""


def pageable(shape: tuple[int, ...]) -> Pixels:
    """Ordinary memory for bytes."""
    return np.empty(shape, np.uint8)


class Batch(NamedTuple):
    """What a net sees in a step."""

    step: int
    samples: Ints
    """Numbers of the samples in the file, (batch,)."""
    images: Pixels
    """(batch, side, side, 3), RGB."""
    labels: Ints
    """(batch,)."""


class Plan(NamedTuple):
    """What to decode for one batch."""

    step: int
    samples: Ints
    boxes: Ints
    """(batch, 4): top, left, height, width in pixels."""
    flips: npt.NDArray[np.bool_]
    side: int


class Pool:
    """Decoding threads, shared by all loaders of a process."""

    def __init__(self, workers: int) -> None:
        self._threads = ThreadPoolExecutor(workers, "decode")
        self._own = local()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Call ``function(decoder, *arguments)`` in a thread, with that thread's decoder."""
        return self._threads.submit(self._call, function, arguments)

    def _call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if not hasattr(self._own, "decoder"):
            self._own.decoder = Decoder()
        return function(self._own.decoder, *arguments)

    def close(self) -> None:
        """End the threads; what waits is dropped."""
        self._threads.shutdown(cancel_futures=True)


class Loader:
    """One split's batches, for training and for evaluation.

    ``losable``: how many samples that do not decode are left out of their batches and counted in ``skipped``; one more,
    and the batch raises `ToolkitError`. None: the first one raises `CorruptSample` where its batch is asked for.
    ``allocate``: whose memory images are decoded into.
    """

    def __init__(self, beton: Beton, pool: Pool, losable: int | None = None, *, allocate: Allocate = pageable) -> None:
        self.beton = beton
        self.pool = pool
        self.losable = losable
        self.allocate = allocate
        self.skipped: set[int] = set()

    def leave_out(self, samples: Sequence[int]) -> None:
        """Count samples as skipped. Raises `ToolkitError` when so many are that the rest is no longer the set."""
        self.skipped.update(samples)
        lost = len(self.skipped)
        if lost > (self.losable or 0):
            raise ToolkitError(
                f"{lost} of {len(self.beton)} samples of {self.beton.path} are corrupt, more than the {self.losable} "
                "that may be missing (--max-bad when it was written): run data_prep.verify on it, and write it again"
            )

    def steps(self, batch: int) -> int:
        """Batches in a training epoch: all full, what is left over sits out until the next permutation.

        Raises `ToolkitError` when there is not one.
        """
        if batch > len(self.beton):
            raise ToolkitError(f"a batch of {batch} is larger than {self.beton.path} ({len(self.beton)} samples)")
        return len(self.beton) // batch

    def train(
        self, recipe: Recipe, seed: int, epoch: int, side: int, first: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """The training batches of an epoch from step ``first`` on, as ``side`` x ``side`` crops.

        ``share`` (i, n): of every batch, only each n-th sample from the i-th on.
        """
        parts = in_batches(order(seed, epoch, len(self.beton)), recipe.batch)[: self.steps(recipe.batch)]
        plans = (
            self._augmented(step, parts[step][share[0] :: share[1]], recipe, seed, epoch, side)
            for step in range(first, len(parts))
        )
        return self._ahead(plans)

    def evaluate(self, batch: int, side: int, ratio: float, share: tuple[int, int] = (0, 1)) -> Iterator[Batch]:
        """Every sample once, in order, as central squares; ``share`` (i, n): only each n-th from the i-th on."""
        samples = np.arange(len(self.beton))[share[0] :: share[1]]
        plans = (self._central(step, part, side, ratio) for step, part in enumerate(in_batches(samples, batch)))
        return self._ahead(plans)

    def _augmented(self, step: int, samples: Ints, recipe: Recipe, seed: int, epoch: int, side: int) -> Plan:
        draws = uniforms(seed, epoch, samples, DRAWS)
        h, w = self.beton.heights[samples], self.beton.widths[samples]
        if recipe.crop == "center":
            boxes = center_crops(h, w, recipe.eval_crop_ratio)
        else:
            boxes = random_crops(draws, h, w, recipe.crop_scale, recipe.crop_ratio)
        return Plan(step, samples, boxes, draws[:, -1] < recipe.flip, side)

    def _central(self, step: int, samples: Ints, side: int, ratio: float) -> Plan:
        boxes = center_crops(self.beton.heights[samples], self.beton.widths[samples], ratio)
        return Plan(step, samples, boxes, np.zeros(len(samples), bool), side)

    def _ahead(self, plans: Iterator[Plan]) -> Iterator[Batch]:
        waiting: deque[_Pending] = deque()
        try:
            for plan in plans:
                waiting.append(_Pending(self, plan))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().batch()
            while waiting:
                yield waiting.popleft().batch()
        finally:
            for pending in waiting:
                pending.cancel()


def in_batches(samples: Ints, batch: int) -> list[Ints]:
    """``samples`` cut into parts of ``batch``; the last may be shorter."""
    return [samples[start : start + batch] for start in range(0, len(samples), batch)]


class _Pending:
    """A batch in the making."""

    def __init__(self, loader: Loader, plan: Plan) -> None:
        self.loader, self.plan = loader, plan
        self.images = loader.allocate((len(plan.samples), plan.side, plan.side, 3))
        chunks = range(0, len(plan.samples), CHUNK)
        self.parts = [loader.pool.submit(self._decode, slice(start, start + CHUNK)) for start in chunks]

    def _decode(self, decoder: Decoder, part: slice) -> list[CorruptSample]:
        plan, beton = self.plan, self.loader.beton
        rows = (plan.samples[part].tolist(), plan.boxes[part].tolist(), plan.flips[part].tolist(), self.images[part])
        corrupt = []
        for sample, box, flip, out in zip(*rows, strict=True):
            try:
                decoder.picture(beton, sample, box, flip, out)
            except CorruptSample as error:
                corrupt.append(error)
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                raise ToolkitError(f"sample {sample} of {beton.path} could not be loaded ({what})") from error
        return corrupt

    def batch(self) -> Batch:
        """Wait for it. Raises the first `CorruptSample` in order, unless such are skipped."""
        corrupt = [error for part in self.parts for error in part.result()]
        if corrupt and self.loader.losable is None:
            raise corrupt[0]
        plan = self.plan
        kept = self._kept([error.sample for error in corrupt])
        labels = self.loader.beton.labels[plan.samples]
        return Batch(plan.step, plan.samples[kept], self.images[kept], labels[kept])

    def _kept(self, corrupt: Sequence[int]) -> Any:
        self.loader.leave_out(corrupt)
        return ~np.isin(self.plan.samples, corrupt) if corrupt else slice(None)

    def cancel(self) -> None:
        """Drop what no thread has begun."""
        for part in self.parts:
            part.cancel()
