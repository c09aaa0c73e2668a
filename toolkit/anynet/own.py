"""Nets of a user's source file, built and tried."""

import sys
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import nn

from toolkit.errors import UsageError

TRIED = 2  # images: a net that mixes up batch and classes shows it


def build_own(
    group: str, text: str, member: str, arguments: Mapping[str, Any], classes: int, resolution: int
) -> nn.Module:
    """What ``member`` of the source ``text`` gives for ``classes``, after it has put out logits once.

    Raises `UsageError` that names the source (``group``) for whatever goes wrong.
    """
    name = f"{group}/{member}"
    make = getattr(_module(group, text), member, None)
    if not callable(make):
        raise UsageError(f"{name} is no callable")
    try:
        net = make(num_classes=classes, **arguments)
    except Exception as error:  # whatever a user's code raises
        raise UsageError(f"{name}, called with num_classes={classes}: {type(error).__name__}: {error}") from error
    if not isinstance(net, nn.Module):
        raise UsageError(f"{name} gives {_kind(net)}, not a torch.nn.Module")
    _check_logits(net, name, classes, resolution)
    return net


@cache
def _module(group: str, text: str) -> ModuleType:
    """The source, run once a process. What it draws while it is run does not touch the nets' own randomness."""
    module = ModuleType(f"toolkit_own_{group}")
    module.__file__ = f"{group}.py"
    sys.modules[module.__name__] = module  # dataclasses and pickle look their module up
    try:
        with torch.random.fork_rng(devices=[]):
            exec(compile(text, module.__file__, "exec"), module.__dict__)
    except Exception as error:
        raise UsageError(f"{group}.py cannot be run: {type(error).__name__}: {error}") from error
    return module


def _check_logits(net: nn.Module, name: str, classes: int, side: int) -> None:
    images = torch.zeros(TRIED, 3, side, side)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            logits = net.eval()(images)
        except Exception as error:
            raise UsageError(f"{name} on images {tuple(images.shape)}: {type(error).__name__}: {error}") from error
    net.train()
    if not isinstance(logits, torch.Tensor):
        raise UsageError(f"{name} puts out {_kind(logits)}, not a tensor of logits")
    if tuple(logits.shape) != (TRIED, classes):
        shapes = f"{tuple(logits.shape)}, not {(TRIED, classes)}"
        raise UsageError(f"{name} puts out {shapes}, for {TRIED} images and {classes} classes")


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"
