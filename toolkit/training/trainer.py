"""One task in training: the net, its optimizer, and how far it has come."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from toolkit.anynet import Architecture, Texts, architecture
from toolkit.errors import UsageError
from toolkit.study.dataset import Manifest
from toolkit.study.result import Evaluation
from toolkit.study.task import Task
from toolkit.training.augment import step_seed
from toolkit.training.averaging import WeightAverage
from toolkit.training.dense import make_dense
from toolkit.training.device import arithmetic
from toolkit.training.fused import fuse
from toolkit.training.graphs import Record, RecordedStep, recordable
from toolkit.training.mixing import mixing, parts_of
from toolkit.training.process_group import ProcessGroup
from toolkit.training.schedule import learning_rate, make_optimizer, resolution_at
from toolkit.ways import Way

CHECK_EVERY = 50
"""Updates between two looks at the loss: a look makes a GPU wait."""
TOP = 5
CHANGES: Mapping[Way, Callable[[Any], None]] = {"fused-norm": fuse, "dense-groups": make_dense}
"""What becomes of a sampled net, which computes the same up to rounding then."""


class Diverged(Exception):
    """Training that went nowhere: ``kind`` is "NonFiniteLoss" or "ChanceLevel"."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Clock:
    """Seconds of a task so far, earlier runs of it included."""

    total: float = 0.0
    startup: float = 0.0
    data_wait: float = 0.0
    compute: float = 0.0
    evaluate: float = 0.0
    images: int = 0
    """Training images seen."""


@dataclass
class ErrorCounter:
    """Counts over validation images, on the device; all tensors are int64 but ``loss``."""

    loss: Tensor
    wrong5: Tensor
    wrong_by_class: Tensor
    images_by_class: Tensor

    @classmethod
    def empty(cls, classes: int, device: torch.device) -> "ErrorCounter":
        """All zero."""
        count = {"dtype": torch.int64, "device": device}
        loss = torch.zeros((), dtype=torch.float64, device=device)
        return cls(loss, torch.zeros((), **count), torch.zeros(classes, **count), torch.zeros(classes, **count))

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch, without a wait for the device: ``logits`` (batch, classes) and ``labels`` (batch,)."""
        self.images_by_class.index_add_(0, labels, torch.ones_like(labels))
        self.loss += cross_entropy(logits.float(), labels, reduction="sum").double()
        ranked = logits.topk(min(TOP, logits.shape[1]), dim=1).indices
        hit = ranked == labels[:, None]
        self.wrong5 += (~hit.any(dim=1)).sum()
        self.wrong_by_class.index_add_(0, labels, (~hit[:, 0]).to(labels.dtype))

    @property
    def all(self) -> tuple[Tensor, ...]:
        """Every count."""
        return self.loss, self.wrong5, self.wrong_by_class, self.images_by_class

    def clear(self) -> None:
        """Count from zero again, in the same place."""
        for counts in self.all:
            counts.zero_()

    def gather(self, team: ProcessGroup) -> None:
        """Add up what the processes of a team counted."""
        for counts in self.all:
            team.total(counts)

    def mean_class_error(self) -> float:
        """Top-1 error in the mean over the classes that were seen."""
        seen = self.images_by_class > 0
        return float((self.wrong_by_class[seen].double() / self.images_by_class[seen]).mean())


@dataclass(eq=False)
class Trainer:
    """A net, its optimizer and its place in the schedule. Knows nothing of files, loaders or other nets.

    ``steps``: updates in an epoch. The net is drawn from the task's seed, and so is what it draws itself (dropout)
    in every single step: a resumed run, or one in a pack, draws what an uninterrupted run alone draws.
    """

    task: Task
    manifest: Manifest
    steps: int
    team: ProcessGroup
    texts: Texts = field(default_factory=dict)
    """What the study has kept of nets of the user's own."""
    record: Record | None = None
    """Records the steps of a net that can be recorded; None: every step launches its kernels one by one."""
    asked: tuple[Way, ...] = ()
    """Ways that are asked for; a sampled net takes those of `CHANGES`. Afterwards ``ways`` are those that it takes."""
    epoch: int = 0
    """Epochs trained and evaluated."""
    step: int = 0
    """Updates done in the epoch after those."""
    evaluations: list[Evaluation] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    resumes: int = 0

    def __post_init__(self) -> None:
        recipe = self.task.recipe
        self.architecture: Architecture = architecture(self.task.architecture, self.texts)
        self.classes = len(self.manifest.classes)
        torch.manual_seed(self.task.seed)
        side = self.architecture.input_size(recipe.resolution)
        net = self.architecture.build(self.classes, side, recipe.drop_path)
        sampled = self.architecture.config is not None
        changes = [way for way in CHANGES if sampled and way in self.asked]
        for way in changes:
            CHANGES[way](net)
        self.device = self.team.device
        self.arithmetic = arithmetic(self.device.type, recipe.precision)
        self.net: nn.Module = net.to(self.device, memory_format=torch.channels_last)
        if recipe.tune == "head":
            self.net.requires_grad_(False)
            head_of(self.net, self.classes).requires_grad_(True)
        self.trained = self.team.trained(self.net)
        self.optimizer = make_optimizer(recipe, self.net.parameters())
        self.average = WeightAverage(self.net, recipe, self.steps) if recipe.ema else None
        self._mix = mixing(recipe, self.classes)
        self._class_weights = self._balanced() if recipe.class_balanced else None
        self._parts = parts_of(recipe, self.team.size)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self.errors = ErrorCounter.empty(self.classes, self.device)
        record = self.record if recordable(recipe, sampled, self.team.size) else None
        self._recorded_update = RecordedStep(record) if record else None
        # an average of weights begins later, and is another net than the one before
        self._recorded_evaluation = RecordedStep(record) if record and not self.average else None
        self._rate = torch.zeros((), device=self.device) if record else None
        self.ways: tuple[Way, ...] = (*(("cuda-graphs",) if record else ()), *changes)

    @property
    def evaluated(self) -> nn.Module:
        """The net that is evaluated and kept: the moving average of the weights where the recipe has one."""
        return self.average.net if self.average and self.average.begun else self.net

    @property
    def finished(self) -> bool:
        """All epochs are trained and evaluated."""
        return self.epoch == self.task.recipe.epochs

    def side(self, epoch: int) -> int:
        """Side in pixels of what the net wants to see in an epoch."""
        return self.architecture.input_size(resolution_at(self.task.recipe, epoch))

    def train_batch(self, images: Tensor, labels: Tensor) -> None:
        """One update on ``images`` (batch, 3, side, side) and ``labels`` (batch,). Raises `Diverged`."""
        recipe = self.task.recipe
        done = self.epoch * self.steps + self.step
        torch.manual_seed(step_seed(self.task.seed, self.epoch, self.step) + self.team.rank)
        self._train_mode()
        rate = learning_rate(recipe, done, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate if self._rate is None else self._rate.fill_(rate)
        mixed = self._mix(images, labels)
        if self._recorded_update:
            self._recorded_update(self._update, *mixed)
        else:
            self._update(*mixed)
        if self.average:
            self.average.update(self.net, done + 1)
        self.step += 1
        self.clock.images += len(labels) * self.team.size
        if self.step % CHECK_EVERY == 0 or self.step == self.steps:
            self.train_loss()

    def _update(self, images: Tensor, labels: Tensor) -> None:
        """What the device does in a step; nothing here but ``images`` and ``labels`` may change between steps."""
        loss = self._backward(images, labels)
        if (limit := self.task.recipe.clip_grad_norm) is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), limit)
        self.optimizer.step()
        self.loss_sum += self.team.total(loss) / self.team.size

    def _backward(self, images: Tensor, labels: Tensor) -> Tensor:
        """The gradient of a batch's mean loss, and that loss; of several ranks, this one's part of it.

        The ranks' mean is the batch's: they may have unequal shares, so a mean of their means would weigh samples
        unequally.
        """
        smoothing, weights = self.task.recipe.label_smoothing, self._class_weights
        plain = self.team.size == self._parts == 1 and weights is None
        count = None if plain else self.team.total(torch.full((), len(labels), dtype=torch.float32, device=self.device))
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        parts = min(self._parts, len(labels))  # with --corrupt skip a batch may be smaller than it was planned
        for part, targets in zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True):
            logits = self._logits(self.trained, part)
            if count is None:
                loss = cross_entropy(logits, targets, label_smoothing=smoothing)
            else:
                summed = cross_entropy(logits, targets, weights, label_smoothing=smoothing, reduction="sum")
                loss = summed * (self.team.size / count)
            loss.backward()
            total += loss.detach()
        return total

    def _balanced(self) -> Tensor:
        """A weight for each class, one over its frequency, with a mean of 1 over the training images."""
        counts = torch.tensor(self.manifest.splits["train"].class_counts, dtype=torch.float32, device=self.device)
        present = counts > 0
        return torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)

    def train_loss(self) -> float:
        """Mean loss of the epoch's updates so far (with label smoothing). Raises `Diverged` when it is no number."""
        mean = self.loss_sum.item() / max(self.step, 1)
        if not math.isfinite(mean):
            at = f"by update {self.step} of epoch {self.epoch + 1}"
            raise Diverged("NonFiniteLoss", f"the training loss is {mean} {at}; try a lower learning rate")
        return mean

    def start_evaluation(self) -> None:
        """Begin to count."""
        self.evaluated.eval()
        self.errors.clear()

    @torch.no_grad()
    def evaluate_batch(self, images: Tensor, labels: Tensor) -> None:
        """Count the errors of a batch."""
        if self._recorded_evaluation:
            self._recorded_evaluation(self._count, images, labels)
        else:
            self._count(images, labels)

    def _count(self, images: Tensor, labels: Tensor) -> None:
        self.errors.add(self._logits(self.evaluated, images), labels)

    def finish_epoch(self, seconds: float) -> Evaluation:
        """Turn the counts into the epoch's evaluation. Raises `Diverged` when the loss is no number."""
        counter = self.errors
        counter.gather(self.team)
        images = int(counter.images_by_class.sum().item())
        loss = counter.loss.item() / images
        if not math.isfinite(loss):
            raise Diverged("NonFiniteLoss", f"the validation loss is {loss} after epoch {self.epoch + 1}")
        by_class = counter.wrong_by_class.tolist()
        evaluation = Evaluation(
            epoch=self.epoch + 1,
            images=images,
            wrong_top1=sum(by_class),
            wrong_top5=int(counter.wrong5.item()),
            mean_class_error=counter.mean_class_error(),
            loss=loss,
            train_loss=self.train_loss(),
            seconds=seconds,
            wrong_by_class=tuple(by_class) if self.epoch + 1 == self.task.recipe.epochs else (),
        )
        self._next_epoch(evaluation)
        return evaluation

    def _next_epoch(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)
        self.epoch, self.step = self.epoch + 1, 0
        self.loss_sum.zero_()

    def check_learned(self) -> None:
        """Raise `Diverged` when the last epoch is no better than guessing, by its loss and by its errors both."""
        last = self.evaluations[-1]
        assert last.train_loss is not None
        commonest = max(self.manifest.splits["val"].class_counts)
        if last.train_loss >= math.log(self.classes) and last.images - last.wrong_top1 <= commonest:
            raise Diverged(
                "ChanceLevel",
                f"the last epoch's training loss {last.train_loss:.3f} is not below ln {self.classes} = "
                f"{math.log(self.classes):.3f}, and its errors are those of guessing",
            )

    def _train_mode(self) -> None:
        """A linear probe keeps the statistics of its frozen part. A net has hundreds of modules: told changes alone."""
        learns = self.task.recipe.tune == "all"
        if self.net.training != learns:
            self.net.train(learns)

    def _logits(self, net: nn.Module, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.arithmetic == "bfloat16"):
            return net(images).float()


def head_of(net: nn.Module, classes: int) -> nn.Module:
    """The classifier: the last linear layer or convolution with ``classes`` outputs.

    Raises `UsageError` where there is none: the net can neither be probed nor start from another dataset's weights.
    """
    found = [module for module in net.modules() if _outputs(module) == classes]
    if not found:
        raise UsageError(f"the net has no linear layer or convolution with {classes} outputs that is its classifier")
    return found[-1]


def _outputs(module: nn.Module) -> int | None:
    if isinstance(module, nn.Linear):
        return int(module.out_features)
    return int(module.out_channels) if isinstance(module, nn.Conv2d) else None


def head_names(net: nn.Module, classes: int) -> Iterator[str]:
    """Names of the classifier's tensors in the net's state."""
    head = head_of(net, classes)
    prefix = next(name for name, module in net.named_modules() if module is head)
    return (f"{prefix}.{name}" for name in head.state_dict())
