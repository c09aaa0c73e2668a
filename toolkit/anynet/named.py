"""Models of torchvision and timm, built so that they take an image and give logits."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from torch import nn

from toolkit.errors import UsageError

AUXILIARY = ("googlenet", "inception_v3")  # torchvision's models with auxiliary heads


NO_ARGUMENTS: Mapping[str, Any] = {}


def build_named(name: str, classes: int, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> nn.Module:
    """``torchvision/MODEL`` or ``timm/MODEL`` with fresh weights and ``classes`` outputs.

    An auxiliary head (Inception v3, GoogLeNet) is left out: every net is trained by the same loss. Raises
    `UsageError` when the installed library does not have the model, or the model does not take the arguments.
    """
    library, _, model = name.partition("/")
    build = _torchvision if library == "torchvision" else _timm
    try:
        return build(model, classes, arguments)
    except UsageError:
        raise
    except Exception as error:  # whatever a constructor makes of an argument
        if not arguments:
            raise
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise UsageError(f"{name} cannot be built with {given}: {error}") from error


def _torchvision(model: str, classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    from torchvision import models

    if model not in models.list_models(module=models):
        raise _missing("torchvision", model)
    options = {"aux_logits": False, "init_weights": True} if model in AUXILIARY else {}
    return models.get_model(model, weights=None, num_classes=classes, **options, **arguments)


def _timm(model: str, classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    import timm

    if not timm.is_model(model):
        raise _missing("timm", model)
    return timm.create_model(model, pretrained=False, num_classes=classes, **arguments)


def _missing(library: str, model: str) -> UsageError:
    return UsageError(f"{library} {version(library)} has no model {model!r}: install the version of the lock file")
