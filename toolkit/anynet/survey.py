"""Write ``named.json``: the models of the installed torchvision and timm, their input sizes, the cost of some.

    python -m toolkit.anynet.survey > toolkit/anynet/named.json

Sizes are what the libraries declare of their models; only those whose cost is surveyed are built, on the meta device.
"""

import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg
from torchvision import models

from toolkit.anynet.count import count_by_operations
from toolkit.anynet.named import build_named
from toolkit.anynet.population import load_population
from toolkit.cli import parser, run, say

Entry = dict[str, int]

COUNTED = (
    *load_population("imagenot-9").architectures,
    "torchvision/mobilenet_v3_small",
    "torchvision/shufflenet_v2_x1_0",
    "torchvision/resnet18",
    "torchvision/resnet50",
)
RESOLUTIONS = (32, 48, 64, 75, 96, 112, 128, 160, 176, 192, 224, 256, 288, 299, 320, 384, 480, 512)
NATIVE = {
    "inception_v3": 299,
    "maxvit_t": 224,
}  # sides the libraries do not declare as fixed, but the nets are made for
VIT_SIDE = 224  # torchvision's vision transformers, when they are built without weights


def main(argv: Sequence[str]) -> int:
    """Print the survey, one line for each model."""
    parser("toolkit.anynet.survey", __doc__).parse_args(argv)
    models = {"torchvision": _torchvision(), "timm": _timm()}
    document = {
        "versions": {library: version(library) for library in models},
        "models": models,
        "complexity": {name: _costs(name, models["torchvision"][name.split("/")[1]]) for name in COUNTED},
    }
    say(_by_lines(document, depth=3))
    return 0


def _by_lines(value: Any, depth: int, indent: str = "") -> str:
    """JSON whose outer levels have a line for each entry, so that a change shows what changed."""
    if depth == 0 or not (isinstance(value, dict) and any(isinstance(v, dict) for v in value.values())):
        return json.dumps(value)
    entries = (f"{indent} {json.dumps(k)}: {_by_lines(v, depth - 1, indent + ' ')}" for k, v in value.items())
    return "{\n" + ",\n".join(entries) + f"\n{indent}}}"


def _torchvision() -> dict[str, Entry]:
    def entry(name: str) -> Entry:
        if name in NATIVE or name.startswith("vit_"):
            return {"fixed": NATIVE.get(name, VIT_SIDE)}
        minimum = max(w.meta["min_size"][0] for w in models.get_model_weights(name))
        return {"minimum": minimum} if minimum > 1 else {}

    return {name: entry(name) for name in models.list_models(module=models)}


def _timm() -> dict[str, Entry]:
    def entry(name: str) -> Entry:
        declared = get_pretrained_cfg(name)
        if declared.fixed_input_size or name in NATIVE:
            return {"fixed": NATIVE.get(name, declared.input_size[1])}
        return {"minimum": max(declared.min_input_size[1:])} if declared.min_input_size else {}

    return {name: entry(name) for name in timm.list_models()}


def _costs(name: str, entry: Entry) -> dict[str, Any]:
    """Width of the last layer's input, and by resolution the cost of all before it."""
    with torch.device("meta"):
        model, smaller = build_named(name, 1001), build_named(name, 1)
    body: dict[str, tuple[int, int, int]] = {}
    for side in _sides(entry):
        large, small = (count_by_operations(m, side) for m in (model, smaller))
        features = (large.flops - small.flops) // 1000
        body[str(side)] = (small.flops - features, small.params - features - 1, small.activations - 1)
    return {"features": features, "body": body}


def _sides(entry: Entry) -> list[int]:
    if "fixed" in entry:
        return [entry["fixed"]]
    minimum = entry.get("minimum", RESOLUTIONS[0])
    return sorted({minimum, *(r for r in RESOLUTIONS if r > minimum)})


if __name__ == "__main__":
    run(main)
