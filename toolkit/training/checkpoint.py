"""Checkpoints: everything a task needs to go on, at any batch; and the weights that a transfer starts from."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from toolkit.errors import ToolkitError
from toolkit.files import TEMPORARY, atomic, make_folder
from toolkit.study.result import Evaluation
from toolkit.study.study import FINAL, WEIGHTS_VERSION, Study
from toolkit.study.task import Start
from toolkit.training.init_weights import find_final
from toolkit.training.trainer import Clock, Trainer, head_names

LATEST = "latest.pt"


def save(study: Study, trainer: Trainer) -> None:
    """Replace the task's checkpoint, whole or not at all. Raises `ToolkitError` when there is no room."""
    state = {
        **_head(trainer),
        "epoch": trainer.epoch,
        "step": trainer.step,
        "loss_sum": trainer.loss_sum.item(),
        "evaluations": [evaluation.model_dump(mode="json") for evaluation in trainer.evaluations],
        "clock": asdict(trainer.clock),
        "resumes": trainer.resumes,
        "optimizer": trainer.optimizer.state_dict(),
        **({"average": trainer.average.state()} if trainer.average else {}),
    }
    _write(study.checkpoint_folder(trainer.task.id) / LATEST, state)


def save_final(study: Study, trainer: Trainer) -> None:
    """Keep the finished net's weights, for tasks that start from them. Raises `ToolkitError` as `save`."""
    _write(study.checkpoint_folder(trainer.task.id) / FINAL, _head(trainer) | {"model": trainer.evaluated.state_dict()})


def drop(study: Study, task_id: str) -> None:
    """Remove a task's checkpoint to resume from, if there is one, and what a killed save left."""
    folder = study.checkpoint_folder(task_id)
    for path in (folder / LATEST, *folder.glob(f"{TEMPORARY}*")):
        path.unlink(missing_ok=True)


def resume(study: Study, trainer: Trainer) -> bool:
    """Put the task's checkpoint into ``trainer``; False when there is none.

    Raises `ToolkitError` when it is damaged, of another format, task or architecture.
    """
    path = study.checkpoint_folder(trainer.task.id) / LATEST
    if not path.is_file():
        return False
    state = _read(path, trainer)
    if state["task"] != trainer.task.id:
        raise ToolkitError(f"{path} belongs to task {state['task']}, not {trainer.task.id}; remove it to start over")
    _load(path, trainer, state["model"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    if trainer.average:
        trainer.average.load(state["average"])
    trainer.epoch, trainer.step = state["epoch"], state["step"]
    trainer.loss_sum.fill_(state["loss_sum"])
    trainer.evaluations = [Evaluation.model_validate(evaluation) for evaluation in state["evaluations"]]
    trainer.clock = Clock(**state["clock"])
    trainer.resumes = state["resumes"] + 1
    return True


def start_from(study: Study, trainer: Trainer, start: Start) -> None:
    """Begin with the weights of another task, all but the classifiers' (an auxiliary one too).

    Raises `ToolkitError` as `resume`.
    """
    path = find_final(study, start.task)
    state = _read(path, trainer)
    if state["task"] != start.task:
        raise ToolkitError(f"{path} belongs to task {state['task']}, not {start.task}: train that one again")
    weights = state["model"]
    own = trainer.net.state_dict()
    head = set(head_names(trainer.net, trainer.classes))
    fresh = {name for name in own if name in head or own[name].shape != weights[name].shape}
    _load(path, trainer, weights | {name: own[name] for name in fresh})


def _head(trainer: Trainer) -> dict[str, Any]:
    return {
        "version": WEIGHTS_VERSION,
        "task": trainer.task.id,
        "architecture": trainer.task.architecture,
        "classes": trainer.classes,
        "model": trainer.net.state_dict(),
    }


def _write(path: Path, state: dict[str, Any]) -> None:
    try:
        make_folder(path.parent)
        with atomic(path) as temporary, temporary.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:  # torch raises over what the disk said: a full one, say
        said = error.__context__ if isinstance(error.__context__, OSError) else error
        raise ToolkitError(f"{path} cannot be written ({said})") from error


def _read(path: Path, trainer: Trainer) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location=trainer.device, weights_only=True)
    except Exception as error:  # a damaged file raises whatever the unpickler met
        raise ToolkitError(f"{path} is no whole checkpoint ({error}); remove it to start over") from error
    if not isinstance(state, dict) or state.get("version") != WEIGHTS_VERSION:
        raise ToolkitError(f"{path} is no checkpoint of format {WEIGHTS_VERSION}; remove it to start over")
    if state["architecture"] != trainer.task.architecture:
        raise ToolkitError(f"{path} holds {state['architecture']}, not {trainer.task.architecture}")
    return state


def _load(path: Path, trainer: Trainer, weights: dict[str, Any]) -> None:
    try:
        trainer.net.load_state_dict(weights)
    except RuntimeError as error:
        raise ToolkitError(f"{path} does not fit {trainer.task.architecture}: {error}") from error
