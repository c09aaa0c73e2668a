"""LibraryModel models of torchvision and timm, built so that they take an image and give logits."""

from torch import nn

from toolkit.errors import UsageError

AUXILIARY = ("googlenet", "inception_v3")  # torchvision's models with auxiliary heads


def build_named(name: str, classes: int) -> nn.Module:
    """``torchvision/MODEL`` or ``timm/MODEL`` with fresh weights and ``classes`` outputs.

    An auxiliary head (Inception v3, GoogLeNet) is left out: every net is trained by the same loss. Raises
    `UsageError` when the installed library does not have the model.
    """
    library, _, model = name.partition("/")
    return _torchvision(model, classes) if library == "torchvision" else _timm(model, classes)


def _torchvision(model: str, classes: int) -> nn.Module:
    from torchvision import models

    if model not in models.list_models(module=models):
        raise _missing("torchvision", model)
    options = {"aux_logits": False, "init_weights": True} if model in AUXILIARY else {}
    return models.get_model(model, weights=None, num_classes=classes, **options)


def _timm(model: str, classes: int) -> nn.Module:
    import timm

    if not timm.is_model(model):
        raise _missing("timm", model)
    return timm.create_model(model, pretrained=False, num_classes=classes)


def _missing(library: str, model: str) -> UsageError:
    from importlib.metadata import version

    return UsageError(f"{library} {version(library)} has no model {model!r}: install the version of the lock file")
