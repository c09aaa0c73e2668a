"""Recipe: all that decides training, in one TOML file."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from toolkit.errors import UsageError
from toolkit.names import unknown
from toolkit.study.model import FrozenModel, first_problem
from toolkit.texts import read_text


class Recipe(FrozenModel):
    """How a net is trained and evaluated. Two recipes with equal fields are the same recipe, whatever their file.

    A field whose value no paper publishes is marked "our choice" in the shipped file that sets it.
    """

    epochs: int = Field(10, ge=1, le=10_000)
    batch: int = Field(128, ge=1, le=65_536)
    """Images a step (over all GPUs of the task)."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(0.1, gt=0)
    """Peak learning rate for ``batch`` images."""
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(5e-5, ge=0)
    decay_norm_and_bias: bool = True
    schedule: Literal["cosine", "constant", "step"] = "cosine"
    """cosine: half-period cosine to zero over all steps; step: times 0.1 at 1/3 and 2/3 of the epochs."""
    warmup_epochs: float = Field(0.0, ge=0)
    """Linear ramp of the learning rate from zero."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    clip_grad_norm: float | None = Field(None, gt=0)
    resolution: int = Field(224, ge=8, le=4096)
    """Side in pixels of the training crop; a model with a fixed input overrides it."""
    eval_resolution: int | None = Field(None, ge=8, le=4096)
    """None: as ``resolution``."""
    eval_crop_ratio: float = Field(0.875, gt=0, le=1)
    """Side of the central square that is resized to the evaluation resolution, over the image's short side."""
    crop: Literal["random_resized", "center"] = "random_resized"
    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Share of the image's area that a training crop covers."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Width over height of a training crop."""
    flip: float = Field(0.5, ge=0, le=1)
    """Probability of a horizontal flip."""
    progressive: tuple[int, int] | None = None
    """(low, high): the resolution grows linearly over the epochs; None: ``resolution`` throughout."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """On a GPU; a CPU computes in float32."""
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
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"recipe {name} is no TOML: {error}") from error


def _parse_change(change: str) -> tuple[str, Any]:
    field, equals, value = change.partition("=")
    if not equals:
        raise UsageError(f"--set {change!r}: write FIELD=VALUE, such as epochs=5")
    try:
        return field.strip(), tomllib.loads(f"x = {value}")["x"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return field.strip(), value.strip()


def _check_fields(name: str, fields: Mapping[str, Any]) -> None:
    for field in fields:
        if field not in Recipe.model_fields:
            raise unknown(f"field of recipe {name}", field, Recipe.model_fields)
