"""Task: one training run, identified by what it means and by nothing else."""

import hashlib
import json
from functools import cached_property
from typing import Annotated

from pydantic import Field

from toolkit.errors import UsageError
from toolkit.study.dataset import Dataset
from toolkit.study.model import FrozenModel
from toolkit.study.recipe import Recipe

ID_LENGTH = 16
TaskId = Annotated[str, Field(pattern=rf"^[0-9a-f]{{{ID_LENGTH}}}$")]
"""Files and folders are named by it, so that in a record of a stranger's it must not lead elsewhere."""


class Start(FrozenModel):
    """The weights a task starts from: the same architecture's, trained on another dataset, or published."""

    task: TaskId
    """Id of the task that trained them; of published ones the first 16 hex digits of their file's SHA-256."""
    dataset: str
    """Its dataset's name (for people; the id decides), ``pretrained``, or the name of a file of weights."""
    weights: str = ""
    """Name of published weights, such as ``timm/resnet18.a1_in1k``, or of their file (for people)."""


class Task(FrozenModel):
    """Architecture x dataset x recipe x seed, and the start checkpoint if there is one."""

    architecture: str
    """``anynetx-500/17``, ``torchvision/resnet152``, ``timm/vit_base_patch16_224``."""
    dataset: str
    """The folder's name. Not part of the id: a copy under another name is the same dataset."""
    dataset_hash: str
    manifest_hash: str = ""
    """The manifest's (`Manifest.manifest_hash`), which must be the same when the task runs. Not part of the id: the
    tasks of a dataset from before there was one would get others when it is written again. Empty: not checked."""
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

    def check_dataset(self, dataset: Dataset) -> None:
        """Raise `UsageError` unless ``dataset`` is what the task was declared on: images, labels, what they mean."""
        now = dataset.manifest
        for what, declared, found in (
            ("other images or labels", self.dataset_hash, now.content_hash),
            ("another manifest (classes, metric, mean or deviation)", self.manifest_hash, now.manifest_hash),
        ):
            if declared and declared != found:
                raise UsageError(
                    f"{dataset.path} has {what} than task {self.id} was declared on (hash {found[:12] or 'none'}, not "
                    f"{declared[:12]}): restore it, or launch another study"
                )
