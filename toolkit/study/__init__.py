"""The nouns: dataset, recipe, task, study, progress, result. Each has one definition, here."""

from toolkit.study.dataset import Dataset, Manifest, Split, data_root, find_dataset
from toolkit.study.progress import Progress
from toolkit.study.recipe import Recipe, load_recipe, recipe_names
from toolkit.study.result import Evaluation, Failure, Provenance, Result, Timing
from toolkit.study.study import Study
from toolkit.study.task import Task

__all__ = [
    "Dataset",
    "Evaluation",
    "Failure",
    "Manifest",
    "Progress",
    "Provenance",
    "Recipe",
    "Result",
    "Split",
    "Study",
    "Task",
    "Timing",
    "data_root",
    "find_dataset",
    "load_recipe",
    "recipe_names",
]
