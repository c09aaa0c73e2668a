"""Is the training right on this device? Each check says what it saw; one that fails ends no other."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from sys import stderr
from typing import Any
from unittest.mock import patch

import torch

from data_prep.sources.synthetic import main as synthesise
from toolkit.benchmarks._part import Part
from toolkit.study import Recipe, Study, Task, find_dataset
from toolkit.train import train
from toolkit.training.stop import StopFlag
from toolkit.training.trainer import Trainer

NETS = ("anynetx-500/17", "anynetx-500/3", "anynetx-500/5", "anynetx-500/8")
TRAIN, VAL, CLASSES = {"cuda": 160, "cpu": 32}, 43, 4
SAME = 1e-6
"""Relative difference of losses up to which two runs are the same; both in torch's deterministic mode."""
REPLAYED = 1e-3
"""The same where learning rates are rounded to float32, after some twenty updates (our choice)."""
ROUNDED = 0.05
"""The same where sums are rounded in another order: float32's last digits, after some twenty updates (our choice)."""
GENTLE = 0.001
"""A learning rate for ways that round otherwise (our choice): at the others' rate a last digit may grow at once."""
TOO_MUCH = 1 << 50
"""Bytes that no device has."""

Runs = dict[str, list[tuple[int, int, float]]]
"""Images, wrong ones and loss of each evaluation, by net."""
Seen = tuple[bool | None, str]
"""Whether it is right, None where it could not be tried; and what was seen."""
Update = Callable[[Callable[[], None], Trainer], None]
"""An update of a net, with the ordinary one to call."""


@dataclass(frozen=True)
class Place:
    """Pictures to learn from, and a folder for studies."""

    root: Path
    nets: int
    """Nets of a pack."""
    device: torch.device
    workers: int
    _alone: Runs = field(default_factory=dict)

    def declared(self, nets: Sequence[str], **changes: Any) -> tuple[Study, list[Task]]:
        """A new study of a task for each net."""
        epochs = 2 if self.device.type == "cuda" else 1
        few = {"epochs": epochs, "batch": 16, "lr": 0.1, "resolution": 16, "crop_scale": (0.5, 1.0)}
        recipe = Recipe.model_validate(few | changes)
        content = find_dataset("pictures", self.root).manifest.content_hash
        study = Study.create(Path(tempfile.mkdtemp(dir=self.root)) / "study")
        tasks = [Task(architecture=n, dataset="pictures", dataset_hash=content, recipe=recipe) for n in nets]
        study.declare(tasks)
        return study, tasks

    def alone(self, nets: Sequence[str]) -> Runs:
        """What each net comes to by itself, undisturbed; trained once."""
        if missing := [net for net in nets if net not in self._alone]:
            self._alone.update(self.run(*self.declared(missing)))
        return {net: self._alone[net] for net in nets}

    def run(self, study: Study, tasks: Sequence[Task], pack: int = 1, **options: Any) -> Runs:
        """Train, with `train`'s ``options``; what is finished by then."""
        train(study, [task.id for task in tasks], data=self.root, pack=pack, workers=self.workers, **options)
        results = {task.architecture: study.result(task.id) for task in tasks}
        return {
            name: [(e.images, e.wrong_top1, e.loss) for e in result.evaluations]
            for name, result in results.items()
            if result
        }


def apart(a: Runs, b: Runs) -> float:
    """The largest relative difference of a loss; infinite where nets or evaluations are missing."""
    if a.keys() != b.keys() or any(len(a[name]) != len(b[name]) for name in a):
        return float("inf")
    pairs = [(x[2], y[2]) for name in a for x, y in zip(a[name], b[name], strict=True)]
    return max((abs(x - y) / max(abs(y), 1e-9) for x, y in pairs), default=float("inf"))


@contextmanager
def interposed(update: Update) -> Iterator[None]:
    """Another update while the block runs."""
    original = Trainer.train_batch

    def train_batch(trainer: Trainer, images: torch.Tensor, labels: torch.Tensor) -> None:
        update(lambda: original(trainer, images, labels), trainer)

    with patch.object(Trainer, "train_batch", train_batch):
        yield


def pack_equals_alone(place: Place) -> tuple[bool, str]:
    """The nets of a pack come to what each comes to alone."""
    nets = NETS[: place.nets]
    difference = apart(place.run(*place.declared(nets), pack=len(nets)), place.alone(nets))
    return difference <= SAME, f"{len(nets)} nets, {difference:.1e} apart"


class AfterLooks(StopFlag):
    """A request to stop that comes after so many looks at it."""

    left = 3

    def __bool__(self) -> bool:
        self.left -= 1
        return self.left < 0


def resumed_equals_uninterrupted(place: Place) -> tuple[bool, str]:
    """The nets of a pack that was stopped within an epoch come to what each comes to undisturbed."""
    nets = NETS[:2]
    study, tasks = place.declared(nets)
    stopped = place.run(study, tasks, pack=2, stop=AfterLooks())
    kept = len(list(study.room("checkpoints").glob("*/latest.pt")))
    difference = apart(place.run(study, tasks, pack=2), place.alone(nets))
    right = not stopped and kept == 2 and difference <= SAME
    return right, f"{kept} checkpoints kept, then {difference:.1e} apart"


def bfloat16_learns_as_float32(place: Place) -> Seen:
    """Both precisions learn four classes; a processor computes both in float32."""
    if place.device.type == "cpu":
        return None, "a processor computes in float32: nothing was tried"
    errors = {}
    for precision in ("float32", "bfloat16"):
        changes = {"epochs": 8, "batch": 32, "resolution": 32, "lr": 0.05, "precision": precision}
        found = place.run(*place.declared(NETS[:2], **changes), pack=2)
        errors[precision] = [rows[-1][1] / rows[-1][0] for rows in found.values()]
    right = all(error < 0.5 for found in errors.values() for error in found)
    return right, f"top-1 errors {errors} (chance {1 - 1 / CLASSES})"


def no_memory_for_one_net(place: Place) -> tuple[bool, str]:
    """A net that finds no memory runs after the others, which do not notice."""
    met: list[int] = []

    def greedy(update: Callable[[], None], trainer: Trainer) -> None:
        if trainer.task.architecture == NETS[1] and not met:
            met.append(1)
            torch.empty(TOO_MUCH, dtype=torch.uint8, device=place.device)
        update()

    study, tasks = place.declared(NETS[:2])
    with interposed(greedy):
        packed = place.run(study, tasks, pack=2)
    sizes = [result.provenance.pack if (result := study.result(task.id)) else 0 for task in tasks]
    difference = apart(packed, place.alone(NETS[:2]))
    return sizes == [2, 1] and difference <= SAME, f"packs of {sizes}, {difference:.1e} apart from alone"


def no_number_in_one_net(place: Place) -> tuple[bool, str]:
    """A net that computes no number is recorded as diverged, and its neighbour does not notice."""

    def poisoned(update: Callable[[], None], trainer: Trainer) -> None:
        if trainer.task.architecture == NETS[1] and trainer.step == 1:
            with torch.no_grad():
                next(trainer.net.parameters()).fill_(torch.nan)
        update()

    study, tasks = place.declared(NETS[:2])
    with interposed(poisoned):
        packed = place.run(study, tasks, pack=2)
    result = study.result(tasks[1].id)
    kind = result.failure.kind if result and result.failure else "no failure"
    packed.pop(NETS[1], None)
    difference = apart(packed, place.alone(NETS[:1]))
    return kind == "NonFiniteLoss" and difference <= SAME, f"{kind}; its neighbour {difference:.1e} apart from alone"


def replayed_equals_launched(place: Place) -> Seen:
    """Nets of a pack whose updates are replayed as graphs come to what each comes to alone, launched kernel by kernel.

    A graph's learning rate is a float32, the other's a double: losses may differ by what that rounding grows to.
    """
    if place.device.type == "cpu":
        return None, "a processor replays no graphs: nothing was tried"
    nets = NETS[:2]
    difference = apart(place.run(*place.declared(nets), pack=2, ways=["cuda-graphs"]), place.alone(nets))
    return difference <= REPLAYED, f"{difference:.1e} apart"


def fused_norms_equal_torchs(place: Place) -> Seen:
    """Nets with fused batch norms come to what they come to without, up to rounding, and twice to the same."""
    if place.device.type == "cpu":
        return None, "a processor has no fused batch norms: nothing was tried (the tests interpret them)"
    nets = NETS[:2]
    first, second = (place.run(*place.declared(nets, lr=GENTLE), pack=2, ways=["fused-norm"]) for _ in range(2))
    repeated, difference = apart(first, second), apart(first, place.run(*place.declared(nets, lr=GENTLE)))
    return (
        repeated <= SAME and difference <= ROUNDED,
        f"{difference:.1e} apart, {repeated:.1e} when repeated",
    )


def dense_groups_equal_grouped_ones(place: Place) -> Seen:
    """Nets whose small groups are computed as dense convolutions come to what they come to without, up to rounding."""
    if place.device.type == "cpu":
        return None, "a processor takes no other ways: nothing was tried (the tests compare nets)"
    nets = NETS[:2]
    dense = place.run(*place.declared(nets, lr=GENTLE), pack=2, ways=["dense-groups"])
    difference = apart(dense, place.run(*place.declared(nets, lr=GENTLE)))
    return difference <= ROUNDED, f"{difference:.1e} apart"


def pinned_batches_arrive_whole(place: Place) -> Seen:
    """A net comes to the same from batches that were decoded into page-locked memory, which is used again and again."""
    if place.device.type == "cpu":
        return None, "a processor copies no batches: nothing was tried"
    difference = apart(place.run(*place.declared(NETS[:1]), ways=["pinned-batches"]), place.alone(NETS[:1]))
    return difference <= SAME, f"{difference:.1e} apart"


def every_image_is_counted(place: Place) -> tuple[bool, str]:
    """An evaluation counts all images of a set that batches do not divide."""
    images, wrong, _ = place.alone(NETS[:1])[NETS[0]][-1]
    return images == VAL and 0 <= wrong <= VAL, f"{images} of {VAL} images, {wrong} wrong"


CHECKS = (
    pack_equals_alone,
    resumed_equals_uninterrupted,
    every_image_is_counted,
    no_number_in_one_net,
    no_memory_for_one_net,
    replayed_equals_launched,
    fused_norms_equal_torchs,
    dense_groups_equal_grouped_ones,
    pinned_batches_arrive_whole,
    bfloat16_learns_as_float32,
)


def correctness(part: Part, device: torch.device, workers: int) -> None:
    """All checks, in torch's deterministic mode."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(stderr):
        sizes = {"train": TRAIN[device.type], "val": VAL, "size": 24, "classes": CLASSES, "workers": 1}
        options = [text for key, value in sizes.items() for text in (f"--{key}", str(value))]
        synthesise(["--family", "textures", "--name", "pictures", "--data", folder, *options])
        place = Place(Path(folder), 4 if device.type == "cuda" else 2, device, workers)
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            for check in CHECKS:
                part.add(check=check.__name__.replace("_", " "), **_seen(part, check, place))
        finally:
            torch.use_deterministic_algorithms(False)


def _seen(part: Part, check: Callable[[Place], Seen], place: Place) -> dict[str, Any]:
    if not part:
        return {"seen": "no time was left"}
    try:
        right, seen = check(place)
    except Exception as error:  # whatever a device raises is what was seen
        right, seen = False, f"{type(error).__name__}: {error}"
    return {"seen": seen} if right is None else {"right": right, "seen": seen}
