"""What a column of anybody's table is, by its heading."""

import re
from typing import Literal, get_args

Role = Literal[
    "architecture",
    "dataset",
    "seed",
    "value",
    "error",
    "accuracy",
    "metric",
    "status",
    "wrong",
    "images",
    "noise",
    "attribute",
    "cluster",
    "result",
    "ignore",
]
ROLES: tuple[Role, ...] = get_args(Role)

ARCHITECTURE = (
    "architecture", "arch", "model", "net", "network", "backbone", "model_name", "net_name",
    "arch_name", "name", "method", "encoder", "classifier",
)  # fmt: skip
NAMES: dict[Role, tuple[str, ...]] = {
    "architecture": ARCHITECTURE,
    "dataset": ("dataset", "data", "task", "benchmark", "dataset_name", "test_set", "testset", "eval_dataset"),
    "seed": ("seed", "run", "repeat", "trial", "fold", "replicate"),
    "metric": ("metric", "metric_name", "measure"),
    "status": ("status", "state"),
    "wrong": ("wrong", "n_wrong", "wrong_images"),
    "images": ("images", "n_images", "num_images", "test_images", "val_images"),
    "cluster": ("family", "model_family", "architecture_family"),
    "noise": ("std", "sd", "se", "stderr", "standard_error", "stdev", "sem", "std_err"),
    "value": ("value", "result", "performance"),
}
"""Headings of each role, the most telling first; compared as `plain` writes them."""
KEYS = ("pretrained", "weights", "checkpoint", "pretraining", "pretrain", "tag", "variant")
"""Columns that together with an architecture's name say which network it is."""
INDEX = ("", "index", "idx", "id", "rank", "no", "row", "level_0")
ATTRIBUTES = {
    "depth", "width", "resolution", "cumulative_depth", "cumulative_width", "size", "model_size",
    "input_size", "img_size", "image_size", "cluster", "year", "time", "train_size", "batch_size",
    "weight_decay", "crop_pct", "wd", "d1", "d2", "d3", "d4",
}  # fmt: skip
ATTRIBUTE_WORDS = {
    "params", "param", "parameters", "flops", "gflops", "mflops", "macs", "gmacs", "mmacs", "macts",
    "activations", "lr", "epochs", "epoch", "batch", "crop", "img", "latency", "throughput", "memory",
    "runtime", "seconds", "hours", "layers", "momentum", "warmup", "dropout", "steps", "interpolation",
    "samples", "gpus",
}  # fmt: skip
ATTRIBUTE_PREFIX = "attr_"
"""Marks any further column of a wide table as an architecture's."""
SUMMARY = {"average", "avg", "mean", "median", "overall"}
SUMMARY_ROWS = SUMMARY | {"total", "sum", "std", "min", "max", "count"}
DERIVED = {"delta", "diff", "difference", "gap", "drop", "rank"}
_ENDS = (("low", "high"), ("lower", "upper"), ("lo", "hi"), ("min", "max"))
OTHER_END = dict(_ENDS) | {high: low for low, high in _ENDS}
"""What the other end of an interval is called."""
ERROR_WORDS = {"err", "error", "errors", "loss", "err1", "err5", "error1", "error5", "nll"}
ACCURACY_WORDS = {
    "acc", "acc1", "acc5", "accuracy", "accuracies", "accs", "top1", "top5", "prec1", "prec5", "precision",
    "score", "f1", "auc", "auroc", "map",
}  # fmt: skip
BESIDE = {
    "val", "valid", "validation", "test", "eval", "rate", "pct", "percent", "final", "best", "ema", "1", "5",
    "balanced",
}  # fmt: skip


def plain(heading: str) -> str:
    """A heading in lower case, its words joined by underscores: ``Top-1 Err.`` is top1_err, ``acc@1`` is acc1."""
    words = re.sub(r"[^a-z0-9]+", "_", heading.lower()).strip("_")
    return re.sub(r"(?<![a-z])(top|acc|prec|err|error|accuracy)_?([15])(?![0-9])", r"\1\2", words)


def direction(heading: str) -> str | None:
    """ "error" or "accuracy" when the words of a heading say so; None when they are silent."""
    words = set(plain(heading).split("_"))
    return "error" if words & ERROR_WORDS else "accuracy" if words & ACCURACY_WORDS else None


def metric(heading: str) -> str | None:
    """ "top1" or "top5" when a heading says so."""
    found = re.search(r"(?:top|acc|prec|err|error|accuracy)([15])(?![0-9])", plain(heading))
    return f"top{found[1]}" if found else None


def is_metric(heading: str) -> bool:
    """Whether a heading names a metric and no dataset: ``top1_err``, ``val_acc``, ``score``."""
    words = set(plain(heading).split("_"))
    return direction(heading) is not None and words <= ERROR_WORDS | ACCURACY_WORDS | BESIDE


def is_attribute(heading: str) -> bool:
    """Whether a heading is one of a network's size, cost or settings."""
    name = plain(heading)
    known = name in ATTRIBUTES or bool(set(name.split("_")) & ATTRIBUTE_WORDS) or heading.startswith(ATTRIBUTE_PREFIX)
    return known and not is_metric(heading)


def is_summary(heading: str) -> bool:
    """Whether a heading is an average over datasets, or what datasets differ by, which is no dataset itself."""
    words = plain(heading).split("_")
    return words[0] in SUMMARY or bool({words[0], words[-1]} & DERIVED)


def is_index(heading: str) -> bool:
    """Whether a heading is the one of a row number: pandas writes none at all, or ``Unnamed: 0``."""
    return plain(heading) in INDEX or re.fullmatch(r"Unnamed: \d+", heading) is not None


IMAGENET = {
    "imagenet", "imagenet1k", "imagenet_1k", "in1k", "in_1k", "ilsvrc2012", "ilsvrc",
    "ilsvrc_2012", "ilsvrc12", "image_net", "imagenet2012", "imagenet_2012", "imagenet_ilsvrc2012",
}  # fmt: skip
"""Spellings of ImageNet's name, as `plain` writes them."""


def bare(dataset: str) -> str:
    """A dataset's name without the words of a metric and a split: ``ImageNet-1k val top1`` is imagenet."""
    words = [w for w in plain(dataset).split("_") if w not in ERROR_WORDS | ACCURACY_WORDS | BESIDE]
    name = "_".join(words)
    return "imagenet" if name in IMAGENET else name
