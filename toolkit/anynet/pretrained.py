"""Published weights of torchvision's and timm's models, from the local cache or a file: found, named, hashed, kept.

python -m toolkit.anynet.pretrained < REQUEST.json      one JSON document: where the weights of each net lie

The request has ``nets``, ``texts``, ``file`` (null: the libraries' caches) and ``out`` (null, or a folder in which each
net's weights are written as ``HASH/final.pt``, the file that a transfer starts from). Nothing is ever downloaded.
"""

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import torch
from torch import nn

from toolkit.anynet.architectures import Architecture, LibraryModel, architecture
from toolkit.anynet.named import build_named
from toolkit.cli import parser, print_json, run
from toolkit.errors import ToolkitError, UsageError
from toolkit.files import atomic

CLASSES = 1000
"""Outputs of a net whose own weights come from a file: its classifier is drawn anew where it starts."""
WEIGHTS_IN = ("model", "state_dict", "model_ema")
"""Keys under which files of checkpoints have the weights."""


class Weights(NamedTuple):
    """The weights of one net."""

    name: str
    """``torchvision/resnet18.IMAGENET1K_V1``, ``timm/resnet18.a1_in1k``, or a file's name."""
    path: str


def main(argv: Sequence[str]) -> int:
    """Raises `UsageError` that names the nets whose weights are not here, and the line that fetches them."""
    parser("toolkit.anynet.pretrained", __doc__).parse_args(argv)
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"  # torchvision's own loading runs what a shared cache holds
    request = orjson.loads(sys.stdin.buffer.read())
    nets = [architecture(name, request["texts"]) for name in request["nets"]]
    found = _of_file(nets, Path(request["file"])) if request["file"] else _of_caches(nets)
    digests = {name: _digest(Path(weights.path)) for name, weights in found.items()}
    if request["out"]:
        for net in nets:
            _keep(net, found[net.name], bool(request["file"]), Path(request["out"]) / digests[net.name], request)
    print_json({name: {"name": weights.name, "task": digests[name]} for name, weights in found.items()})
    return 0


def _of_file(nets: Sequence[Architecture], path: Path) -> dict[str, Weights]:
    if len(nets) > 1:
        raise UsageError(f"{path} holds the weights of one net, and {len(nets)} are named: launch that net alone")
    if not path.is_file():
        raise UsageError(f"weights {path} are not there")
    return {nets[0].name: Weights(path.name, str(path))}


def _of_caches(nets: Sequence[Architecture]) -> dict[str, Weights]:
    if strange := [net.name for net in nets if not isinstance(net, LibraryModel)]:
        raise UsageError(f"{strange[0]} has no published weights: leave it out, or name a file of weights")
    models = {net.name: net.model for net in nets if isinstance(net, LibraryModel)}
    found = {name: _cached(model) for name, model in models.items()}
    if absent := list(dict.fromkeys(models[name] for name, weights in found.items() if weights is None)):
        raise UsageError(
            f"the weights of {len(absent)} models are not in your cache: {', '.join(absent)}; to fetch them where the "
            f"web can be reached: {fetching(absent)}"
        )
    return {name: weights for name, weights in found.items() if weights}


def fetching(models: Sequence[str]) -> str:
    """The shell line that downloads the weights of ``torchvision/...`` and ``timm/...`` into the caches."""
    calls = {
        "torchvision": ("import torchvision", "torchvision.models.get_model(m, weights='DEFAULT')"),
        "timm": ("import timm", "timm.create_model(m, pretrained=True)"),
    }
    parts = []
    for library, (imported, call) in calls.items():
        names = [model.partition("/")[2] for model in models if model.startswith(f"{library}/")]
        parts += [f"{imported}; [{call} for m in {names}]"] if names else []
    return f'python -c "{"; ".join(parts)}"'


def _cached(model: str) -> Weights | None:
    """The default weights of a library's model; None where they are not in the cache. Raises `UsageError`: has none."""
    library, _, name = model.partition("/")
    return _of_torchvision(name) if library == "torchvision" else _of_timm(name)


def _of_torchvision(name: str) -> Weights | None:
    from torchvision import models

    weights = getattr(models.get_model_weights(name), "DEFAULT", None)
    if weights is None:
        raise _none(f"torchvision/{name}")
    return _in_hub(f"torchvision/{name}.{weights.name}", weights.url)


def _of_timm(name: str) -> Weights | None:
    from huggingface_hub import try_to_load_from_cache
    from timm.models import get_pretrained_cfg

    declared = get_pretrained_cfg(name)
    if declared is None or not (declared.hf_hub_id or declared.url):
        raise _none(f"timm/{name}")
    named = f"timm/{name}.{declared.tag}" if declared.tag else f"timm/{name}"
    if not declared.hf_hub_id:
        return _in_hub(named, declared.url)
    repository, _, revision = declared.hf_hub_id.partition("@")
    for file in filter(None, (declared.hf_hub_filename, "model.safetensors", "pytorch_model.bin")):
        if isinstance(path := try_to_load_from_cache(repository, file, revision=revision or None), str):
            return Weights(named, path)
    return None


def _in_hub(name: str, url: str) -> Weights | None:
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    return Weights(name, str(path)) if path.is_file() else None


def _none(model: str) -> UsageError:
    return UsageError(f"{model} has no published weights: leave it out")


def _digest(path: Path) -> str:
    """16 hex digits of the SHA-256 of a file: what stands for the weights in a task's identity."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _keep(net: Architecture, weights: Weights, own_file: bool, folder: Path, request: Mapping[str, Any]) -> None:
    """Write the weights as the final ones of a task ``folder.name``. Raises `ToolkitError` when they do not fit."""
    state = _state_of_file(net, Path(weights.path)) if own_file else _published_state(net, weights)
    head = {"version": request["version"], "task": folder.name, "architecture": net.name, "classes": CLASSES}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(folder / "final.pt") as temporary:
            torch.save({**head, "model": state}, temporary)
    except (OSError, RuntimeError) as error:
        raise ToolkitError(f"{folder / 'final.pt'} cannot be written ({error})") from error


def _published_state(net: Architecture, weights: Weights) -> Mapping[str, torch.Tensor]:
    """The weights as the library itself loads them: it renames what older files call otherwise."""
    assert isinstance(net, LibraryModel)
    library, _, name = net.model.partition("/")
    try:
        if library == "timm":
            import timm

            overlay = {"file": weights.path}
            return timm.create_model(
                name, pretrained=True, pretrained_cfg_overlay=overlay, **net.arguments
            ).state_dict()
        from torchvision import models

        loaded = models.get_model(name, weights="DEFAULT", **net.arguments).state_dict()
        return _matching(build_named(net.model, CLASSES, net.arguments), loaded, weights.path)
    except ToolkitError:
        raise
    except Exception as error:
        raise ToolkitError(f"{weights.path} cannot be loaded into {net.name}: {error}") from error


def _state_of_file(net: Architecture, path: Path) -> Mapping[str, torch.Tensor]:
    """A file's weights. Raises `UsageError` when a tensor besides the last is missing or has another shape."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            loaded: Any = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the unpickler met
        raise UsageError(f"{path} holds no weights: {error}") from error
    nested = (
        [loaded[key] for key in WEIGHTS_IN if isinstance(loaded.get(key), dict)] if isinstance(loaded, dict) else []
    )
    state = nested[0] if nested else loaded
    return _matching(net.build(CLASSES, net.input_size(224)), state, str(path))


def _matching(net: nn.Module, state: Mapping[str, torch.Tensor], path: str) -> Mapping[str, torch.Tensor]:
    """The tensors that the net has; a classifier for another number of classes stays as it is in the file."""
    own = net.state_dict()
    if missing := [name for name in own if name not in state]:
        raise UsageError(f"{path} is of another net: it lacks {len(missing)} of {len(own)} tensors, {missing[0]} say")
    differing = [name for name in own if own[name].shape != state[name].shape and state[name].ndim > 2]
    if differing:
        shapes = f"{tuple(state[differing[0]].shape)}, not {tuple(own[differing[0]].shape)}"
        raise UsageError(f"{path} is of another net: {differing[0]} is {shapes}")
    return {name: state[name] for name in own}


if __name__ == "__main__":
    run(main)
