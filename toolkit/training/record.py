"""Results as they are written: from a trainer, or from the error that came before there was one."""

import time
import traceback
from typing import Any

import toolkit
from toolkit.study.dataset import Manifest
from toolkit.study.result import Failure, Provenance, Result, Status, Timing
from toolkit.study.task import Task
from toolkit.study.usage import Usage
from toolkit.training.provenance import host, image_digest, job, job_restarts, revision, versions
from toolkit.training.trainer import Trainer


def result_of(
    trainer: Trainer,
    status: Status,
    failure: Failure | None,
    *,
    device: str,
    pack: int,
    started: float,
    usage: Usage,
) -> Result:
    """What ``trainer`` came to. ``started``: Unix time in seconds of this run of the task."""
    resolution = trainer.architecture.input_size(trainer.task.recipe.resolution)
    complexity = trainer.architecture.complexity(resolution, trainer.classes)
    params = sum(parameter.numel() for parameter in trainer.net.parameters())
    return Result(
        id=trainer.task.id,
        task=trainer.task,
        status=status,
        metric=trainer.manifest.metric,
        classes=trainer.classes,
        evaluations=tuple(trainer.evaluations),
        flops=complexity.flops if complexity else None,
        params=complexity.params if complexity else params,
        activations=complexity.activations if complexity else None,
        resolution=resolution,
        timing=_timing(trainer),
        usage=usage,
        provenance=_provenance(trainer.task, device, pack, started, trainer.resumes, trainer.arithmetic, trainer.ways),
        failure=failure,
    )


def failed_result(task: Task, manifest: Manifest | None, error: Exception, *, device: str, started: float) -> Result:
    """The result of a task that failed before its net stood."""
    return Result(
        id=task.id,
        task=task,
        status="failed",
        metric=manifest.metric if manifest else "top1",
        classes=len(manifest.classes) if manifest else 0,
        timing=Timing(total_s=time.time() - started),
        provenance=_provenance(task, device, 1, started, 0),
        failure=failure_of(error),
    )


def failure_of(error: Exception) -> Failure:
    """An exception as a result tells it."""
    kind = getattr(error, "kind", type(error).__name__)
    trace = "".join(traceback.format_exception(error))
    return Failure(kind=kind, message=str(error) or kind, trace=trace)


def _timing(trainer: Trainer) -> Timing:
    clock = trainer.clock
    busy = clock.data_wait + clock.compute
    return Timing(
        total_s=clock.total,
        startup_s=clock.startup,
        data_wait_s=clock.data_wait,
        compute_s=clock.compute,
        evaluate_s=clock.evaluate,
        images_per_s=clock.images / busy if busy else None,
    )


def _provenance(
    task: Task,
    device: str,
    pack: int,
    started: float,
    resumes: int,
    arithmetic: str = "",
    ways: tuple[str, ...] = (),
) -> Provenance:
    fields: dict[str, Any] = {"job": job(), "restarts": max(resumes, job_restarts()), "image_digest": image_digest()}
    return Provenance(
        toolkit=toolkit.__version__,
        revision=revision(),
        dataset_hash=task.dataset_hash,
        versions=versions(),
        host=host(),
        device=device,
        arithmetic=arithmetic,
        ways=ways,
        pack=pack,
        started=started,
        finished=time.time(),
        **fields,
    )
