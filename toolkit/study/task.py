"""Task: one training run, identified by what it means and by nothing else."""

import hashlib
import json
from functools import cached_property

from pydantic import Field

from toolkit.study.model import FrozenModel
from toolkit.study.recipe import Recipe

ID_LENGTH = 16


class Start(FrozenModel):
    """The checkpoint a task starts from: the same architecture's, trained on another dataset."""

    task: str
    """Id of the task that trained it."""
    dataset: str
    """Its dataset's name (for people; the id decides)."""


class Task(FrozenModel):
    """Architecture x dataset x recipe x seed, and the start checkpoint if there is one."""

    architecture: str
    """``anynetx-500/17``, ``torchvision/resnet152``, ``timm/vit_base_patch16_224``."""
    dataset: str
    """The folder's name. Not part of the id: a copy under another name is the same dataset."""
    dataset_hash: str
    recipe: Recipe
    recipe_name: str = ""
    """For people; not part of the id."""
    seed: int = Field(0, ge=0)
    start: Start | None = None

    @cached_property
    def id(self) -> str:
        """16 hex digits of the SHA-256 over the scientific fields that differ from their defaults.

        So a field added later keeps the ids of old tasks as long as its default keeps the old behaviour, and
        neither names, nor hosts, nor worker counts touch an id. They are hashed as JSON with sorted keys and no spaces.
        """
        seed = f',"seed":{self.seed}' if self.seed else ""
        start = f',"start":{json.dumps(self.start.task)}' if self.start else ""
        canonical = (
            f'{{"architecture":{json.dumps(self.architecture)},"dataset":{json.dumps(self.dataset_hash)},'
            f'"recipe":{self.recipe.identity}{seed}{start}}}'
        )
        return hashlib.sha256(canonical.encode()).hexdigest()[:ID_LENGTH]

    @property
    def column(self) -> str:
        """The dataset column a report files this task under: ``NAME``, or ``NAME<-START`` after a transfer."""
        return f"{self.dataset}<-{self.start.dataset}" if self.start else self.dataset
