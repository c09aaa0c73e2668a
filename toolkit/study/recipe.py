"""Recipe: all that decides training, in one TOML file."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import Field, ValidationError, model_validator

from toolkit.errors import UsageError
from toolkit.names import unknown
from toolkit.study.model import FrozenModel, first_problem
from toolkit.texts import read_text


class Recipe(FrozenModel, use_attribute_docstrings=True):
    """How a net is trained and evaluated. Two recipes with equal fields are the same recipe, whatever their file.

    A field whose value no paper publishes is marked "our choice" in the shipped file that sets it.
    """

    epochs: int = Field(10, ge=1, le=10_000)
    """Times that every training image is seen."""
    batch: int = Field(128, ge=1, le=65_536)
    """Images a step (over all GPUs of the task)."""
    accumulate: int = Field(1, ge=1, le=1024)
    """Parts that a batch is computed in, for nets that do not fit otherwise; batch norm sees a part at a time."""
    optimizer: Literal["sgd", "adamw", "rmsprop"] = "sgd"
    """rmsprop: with a smoothing of 0.9 and an epsilon of 0.0316, as torchvision trains MobileNetV3."""
    lr: float = Field(0.1, gt=0)
    """Peak learning rate for ``batch`` images."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of sgd and rmsprop."""
    nesterov: bool = True
    """Nesterov's momentum, of sgd."""
    weight_decay: float = Field(5e-5, ge=0)
    """Of adamw decoupled from the gradient, else added to it."""
    decay_norm_and_bias: bool = True
    """Whether vectors (scales of norms, biases) decay as the other weights do."""
    schedule: Literal["cosine", "constant", "step"] = "cosine"
    """cosine: half-period cosine to zero over all steps; step: times ``step_factor`` every ``step_epochs``."""
    step_epochs: float | None = Field(None, gt=0)
    """Epochs between two steps of the schedule; none: a third of all."""
    step_factor: float = Field(0.1, gt=0, lt=1)
    """What a step of the schedule multiplies the learning rate by."""
    warmup_epochs: float = Field(0.0, ge=0)
    """Epochs in which the learning rate grows linearly from zero."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target that is spread over all classes."""
    class_balanced: bool = False
    """Whether a sample's loss is weighted by one over its class's frequency, with a mean weight of 1."""
    clip_grad_norm: float | None = Field(None, gt=0)
    """Largest norm of the gradient of all weights together."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of a moving average of the weights, which is what is evaluated and kept; it copies during the warm-up."""
    ema_every: int = Field(1, ge=1)
    """Updates between two steps of the moving average."""
    drop_path: float = Field(0.0, ge=0, lt=1)
    """Stochastic depth: chance that a sample skips a residual branch, growing linearly to this at the last block."""
    resolution: int = Field(224, ge=8, le=4096)
    """Side in pixels of the training crop; a model with a fixed input overrides it."""
    eval_resolution: int | None = Field(None, ge=8, le=4096)
    """Side in pixels of the evaluated crop; none: as ``resolution``."""
    eval_crop_ratio: float = Field(0.875, gt=0, le=1)
    """Side of the central square that is resized to the evaluation resolution, over the image's short side."""
    crop: Literal["random_resized", "center"] = "random_resized"
    """center: the training pictures are those of the evaluation, flips apart."""
    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Share of the image's area that a training crop covers."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Width over height of a training crop."""
    flip: float = Field(0.5, ge=0, le=1)
    """Probability of a horizontal flip."""
    auto_augment: Literal["none", "autoaugment", "randaugment", "trivialaugment"] = "none"
    """torchvision's policies, after crop and flip: AutoAugment for ImageNet, RandAugment of two operations, or
    TrivialAugment (wide)."""
    magnitude: int = Field(9, ge=0, le=30)
    """Of RandAugment's operations, of 30."""
    erasing: float = Field(0.0, ge=0, le=1)
    """Probability that a box of 2% to 33% of the crop becomes the dataset's mean colour (random erasing)."""
    mixup: float = Field(0.0, ge=0)
    """Alpha of mixup; 0: none. With cutmix, too, either of them for a batch by an equal chance."""
    cutmix: float = Field(0.0, ge=0)
    """Alpha of CutMix; 0: none."""
    progressive: tuple[int, int] | None = None
    """(low, high): the resolution grows linearly over the epochs; none: ``resolution`` throughout."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """On a GPU, where products of float32 are TF32 (10 bits of mantissa); a CPU computes in float32."""
    tune: Literal["all", "head"] = "all"
    """head: a linear probe, only the classifier learns."""

    @model_validator(mode="after")
    def _ranges(self) -> "Recipe":
        for name in ("crop_scale", "crop_ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be two numbers, 0 < low <= high, not {(low, high)}")
        if self.crop_scale[1] > 1:
            raise ValueError("crop_scale is a share of the image and ends at 1")
        if self.accumulate > self.batch:
            raise ValueError(f"accumulate {self.accumulate} cuts a batch of {self.batch} into empty parts")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs} leaves nothing of {self.epochs} epochs")
        return self

    @cached_property
    def identity(self) -> str:
        """What differs from the defaults, as JSON: two recipes that train alike have the same."""
        differing = self.model_dump(mode="json", exclude_defaults=True)
        return json.dumps(differing, sort_keys=True, separators=(",", ":"))

    @property
    def resolution_at_evaluation(self) -> int:
        """Side in pixels of the evaluated crop."""
        return self.eval_resolution or self.resolution


def recipe_help() -> str:
    """Every key of a recipe with its type, default and meaning, as lines of text."""
    rows = [
        (name, _kind(field.annotation), _default(field.default), " ".join((field.description or "").split()))
        for name, field in Recipe.model_fields.items()
    ]
    return "\n".join(f"{name} ({kind}; {default})\n    {about}" for name, kind, default, about in rows)


def _kind(annotation: Any) -> str:
    """A type in words: ``"sgd" | "adamw"``, ``float | none``, ``[float, float]``."""
    if get_origin(annotation) is Literal:
        return " | ".join(f'"{value}"' for value in get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"[{', '.join(map(_kind, get_args(annotation)))}]"
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(map(_kind, get_args(annotation)))
    return "none" if annotation is NoneType else str(annotation.__name__)


def _default(value: object) -> str:
    """A default as TOML has it; "none" for what TOML has no word for: the key is left out."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else json.dumps(value)


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    folder = resources.files("toolkit") / "recipes"
    return sorted(Path(item.name).stem for item in folder.iterdir() if item.name.endswith(".toml"))


def load_recipe(name: str, dataset: str = "", changes: Sequence[str] = ()) -> Recipe:
    """The recipe ``name`` (shipped, or the path of a TOML file) as it applies to ``dataset``.

    A recipe file has the fields of `Recipe` at its top and may have tables ``[datasets.NAME]`` whose fields apply
    to that dataset and its subsets ``NAME-...``; the longest matching name wins. ``changes`` are ``FIELD=VALUE``
    strings with TOML values, applied last.

    Raises `UsageError` for an unknown recipe, field or a value out of range.
    """
    fields = dict(_read_recipe(name))
    special: Mapping[str, Any] = fields.pop("datasets", {})
    matching = [key for key in special if dataset == key or dataset.startswith((key + "-", key + "."))]
    if matching:
        fields |= special[max(matching, key=len)]
    fields |= dict(_parse_change(change) for change in changes)
    _check_fields(name, fields)
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        raise UsageError(f"recipe {name}: {first_problem(error)}") from error


def _read_recipe(name: str) -> dict[str, Any]:
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise UsageError(f"recipe file {path} is not there; shipped recipes: {', '.join(recipe_names())}")
        text = read_text(path)
    elif name in recipe_names():
        text = (resources.files("toolkit") / "recipes" / f"{name}.toml").read_text()
    else:
        raise unknown("recipe", name, recipe_names(), "or the path of a .toml file")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"recipe {name} is no TOML: {error}") from error


def _parse_change(change: str) -> tuple[str, Any]:
    field, equals, value = change.partition("=")
    if not equals:
        raise UsageError(f"--set {change!r}: write FIELD=VALUE, such as epochs=5")
    try:
        return field.strip(), tomllib.loads(f"x = {value}")["x"]
    except (ValueError, RecursionError):
        return field.strip(), value.strip()


def _check_fields(name: str, fields: Mapping[str, Any]) -> None:
    for field in fields:
        if field not in Recipe.model_fields:
            raise unknown(f"field of recipe {name}", field, Recipe.model_fields)
