"""Result: what one task came to. Written once, atomically, by the task itself."""

from typing import Literal

from pydantic import Field, model_validator

from toolkit.study.dataset import Metric
from toolkit.study.model import FrozenModel
from toolkit.study.task import Task
from toolkit.study.usage import Usage

Status = Literal["done", "failed", "diverged"]


class Evaluation(FrozenModel):
    """Counts over every validation image after an epoch."""

    epoch: int = Field(ge=0, lt=2**31)
    """Epochs trained before this evaluation."""
    images: int = Field(ge=1)
    wrong_top1: int = Field(ge=0)
    wrong_top5: int = Field(ge=0)
    """Images whose class is not among the five highest scores (0 with five classes or fewer)."""
    mean_class_error: float | None = None
    """Top-1 error in the mean over classes, each weighted alike (those with images in the validation set)."""
    loss: float
    """Mean cross entropy (no label smoothing)."""
    train_loss: float | None = None
    seconds: float = 0.0
    """Wall time of the epoch, evaluation included."""
    wrong_by_class: tuple[int, ...] = ()
    """Top-1 errors by class, kept for the last evaluation only."""

    def error(self, metric: Metric) -> float:
        """The share of wrong images, 0..1."""
        return (self.wrong_top1 if metric == "top1" else self.wrong_top5) / self.images


class Timing(FrozenModel):
    """Where the seconds went (wall clock of the task; in a pack the loader's are shared)."""

    total_s: float
    startup_s: float = 0.0
    """From the task's start to its first batch: imports, compilation, building the model."""
    data_wait_s: float = 0.0
    compute_s: float = 0.0
    evaluate_s: float = 0.0
    images_per_s: float | None = None
    """Training images a second over the epochs, this task alone."""


class Provenance(FrozenModel):
    """What produced the result."""

    toolkit: str
    revision: str | None = None
    """Git revision of the code, with ``+dirty`` when it had changes."""
    image_digest: str | None = None
    """SHA-256 of the container image, where there was one."""
    dataset_hash: str
    versions: dict[str, str] = Field(default_factory=dict)
    host: str = ""
    device: str = ""
    arithmetic: str = ""
    """How products were computed: float32, bfloat16, or tf32 (float32 of 10 bits of mantissa, on a GPU)."""
    ways: tuple[str, ...] = ()
    """Options by which a GPU did more than launch torch's own kernels for the net, see `toolkit.ways`."""
    job: str | None = None
    restarts: int = 0
    pack: int = 1
    """Tasks trained side by side from one loader."""
    started: float = 0.0
    finished: float = 0.0
    """Unix times in seconds."""


class Failure(FrozenModel):
    """Why a task failed or diverged."""

    kind: str
    """Name of the exception, or of the sign of divergence."""
    message: str
    trace: str = ""


class Result(FrozenModel):
    """The document ``results/ID.json``."""

    version: Literal[1] = 1
    id: str
    task: Task
    status: Status
    metric: Metric
    classes: int
    evaluations: tuple[Evaluation, ...] = ()
    flops: int | None = None
    """Multiply-adds of conv and linear at the training resolution."""
    params: int | None = None
    activations: int | None = None
    resolution: int | None = None
    timing: Timing
    usage: Usage | None = None
    """What was used of what was asked for; None: an earlier version's."""
    provenance: Provenance
    failure: Failure | None = None

    @model_validator(mode="after")
    def _has_what_its_status_says(self) -> "Result":
        if self.status == "done" and not self.evaluations:
            raise ValueError("a done result needs its evaluations")
        if self.status != "done" and self.failure is None:
            raise ValueError(f"a {self.status} result needs its failure")
        return self

    @property
    def error(self) -> float | None:
        """The final error of the dataset's metric (0..1), or None unless the task is done."""
        return self.evaluations[-1].error(self.metric) if self.status == "done" else None
