"""What a column of anybody's table is, by its heading."""

import re
from collections.abc import Sequence
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
INDEX = ("", "index", "idx", "id", "rank", "no", "row", "level_0", "experiment_id", "run_id")
ATTRIBUTES = {
    "depth", "width", "resolution", "cumulative_depth", "cumulative_width", "size", "model_size",
    "input_size", "img_size", "image_size", "cluster", "train_size", "batch_size",
    "weight_decay", "crop_pct", "wd", "d1", "d2", "d3", "d4", "learning_rate", "class_weight", "year", "devices",
}  # fmt: skip
ATTRIBUTE_WORDS = {
    "params", "param", "parameters", "flops", "gflops", "mflops", "macs", "gmacs", "mmacs", "macts",
    "activations", "lr", "epochs", "epoch", "batch", "crop", "img", "latency", "throughput", "memory",
    "runtime", "seconds", "hours", "layers", "momentum", "warmup", "dropout", "steps", "interpolation",
    "samples", "gpus", "mparams", "time", "timespan", "timestamp", "duration", "fps", "speed", "size",
    "dim", "cost", "energy", "vram", "downloads", "likes", "stars", "citations",
}  # fmt: skip
ATTRIBUTE_ENDS = {"width", "resolution", "sec", "secs", "ms", "mb", "gb", "kb"}
"""Last words of further attributes: ``text_width``, ``peak_gpu_mb`` (MS COCO is a dataset)."""
ATTRIBUTE_PREFIX = "attr_"
"""Marks any further column of a wide table as an architecture's."""
SUMMARY = {"average", "avg", "mean", "median", "overall"}
SUMMARY_ROWS = SUMMARY | {"total", "sum", "std", "min", "max", "count"}
DERIVED = {"delta", "diff", "difference", "gap", "drop", "rank"}
_ENDS = (("low", "high"), ("lower", "upper"), ("lo", "hi"), ("min", "max"))
OTHER_END = dict(_ENDS) | {high: low for low, high in _ENDS}
"""What the other end of an interval is called."""
LOSS = {"loss", "nll"}
ERROR_WORDS = LOSS | {"err", "error", "errors", "err1", "err5", "error1", "error5", "mce", "mfr"}
"""With the mean corruption error and the mean flip rate of ImageNet-C and -P (Hendrycks and Dietterich, 2019)."""
USUAL = {"acc", "acc1", "acc5", "accuracy", "accuracies", "accs", "top1", "top5", "err", "error", "err1", "error1"}
"""Measures that are taken before others of the same dataset."""
ACCURACY_WORDS = (USUAL - ERROR_WORDS) | {"prec1", "prec5", "precision", "recall", "score", "f1", "auc", "auroc", "map"}
BESIDE = {
    "val", "valid", "validation", "test", "eval", "rate", "pct", "percent", "final", "best", "ema", "1", "5",
    "balanced", "macro", "micro", "weighted", "worst", "class",
}  # fmt: skip
TRAINING = {"train", "training"}
"""Words of what was measured on the images that a network learned from."""
SPLITS = ("split", "phase", "partition", "data_split", "eval_split")
"""Headings of columns that say on which images a row was measured."""
NEITHER = {
    "ece", "brier", "mse", "mae", "rmse", "entropy", "perplexity", "mcc", "kappa", "variance", "var", "ci", "ci95",
}  # fmt: skip
"""Words of measures that are neither errors nor accuracies, and of spreads."""


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
    words = name.split("_")
    known = name in ATTRIBUTES or bool(set(words) & ATTRIBUTE_WORDS) or words[-1] in ATTRIBUTE_ENDS
    return (known or heading.startswith(ATTRIBUTE_PREFIX)) and not is_metric(heading)


def is_repeat(heading: str) -> bool:
    """Whether a heading is of one of several runs, and names no dataset: ``seed0``, ``run_2``."""
    return re.fullmatch(rf"({'|'.join(NAMES['seed'])})_?\d+", plain(heading)) is not None


def is_no_result(heading: str) -> bool:
    """Whether a heading is of the training images, or of a measure that is neither error nor accuracy."""
    return bool(set(plain(heading).split("_")) & (TRAINING | NEITHER))


def is_of_training(heading: str) -> bool:
    """Whether a heading is of the training images."""
    return bool(set(plain(heading).split("_")) & TRAINING)


def is_loss(heading: str) -> bool:
    """Whether a heading is of a loss."""
    return bool(set(plain(heading).split("_")) & LOSS)


def preference(heading: str) -> tuple[bool, ...]:
    """Least of the measure to be taken where a table has several of one dataset: accuracy, top-1, of test images."""
    words = set(plain(heading).split("_"))
    top5, error = metric(heading) == "top5", direction(heading) == "error"
    return bool(words & LOSS), "ema" in words, not words & USUAL, top5, error, "test" not in words


def one_of_each(headings: Sequence[str]) -> list[str]:
    """Of ``headings`` that are measures of one dataset (``pets_acc``, ``pets_top5``, ``pets_ema_acc``) the preferred.

    Losses stay only where there is nothing else.
    """
    measures = ERROR_WORDS | ACCURACY_WORDS | {"ema"}
    same: dict[str, list[str]] = {}
    for heading in headings:
        same.setdefault("_".join(w for w in plain(heading).split("_") if w not in measures), []).append(heading)
    kept = set()
    for stem, found in same.items():
        silent = [heading for heading in found if plain(heading) == stem]
        kept |= set(silent or [min(found, key=preference)])
    losses = {heading for heading in kept if set(plain(heading).split("_")) & LOSS}
    return [heading for heading in headings if heading in (kept - losses or kept)]


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
