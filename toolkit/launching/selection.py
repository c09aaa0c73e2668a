"""From the words of a command line to tasks, with everything looked up and checked."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from toolkit.anynet import POPULATIONS, Freezer, architecture
from toolkit.anynet.frozen import is_population_file
from toolkit.errors import UsageError
from toolkit.launching.builds import check_builds
from toolkit.launching.dependencies import started_from
from toolkit.launching.pretrained import names_weights, started_from_weights
from toolkit.launching.request import POPULATION, LaunchRequest
from toolkit.launching.tasks import make_tasks
from toolkit.study import Dataset, Study, Task, find_dataset
from toolkit.study.declared import DeclaredTasks
from toolkit.study.ranges import parse_ranges

log = logging.getLogger(__name__)
DEFAULT_RECIPE = "quick"


class Nets(NamedTuple):
    """What a launch names."""

    names: list[str]
    texts: Mapping[str, str]
    """Sources and populations of the user's own that names stand for, and those that the study has kept."""


class Selection(NamedTuple):
    """What a launch is about."""

    tasks: Mapping[str, Task]
    texts: Mapping[str, str]
    """As in `Nets`."""
    weights: str | None = None
    """``pretrained`` or a file, where the tasks start from such weights."""


def select(request: LaunchRequest, study: Study, data: Path) -> Selection:
    """The tasks a launch is about: those its options name, else those that the study has declared.

    Raises `UsageError` for an unknown name, an index out of range, a recipe or dataset that does not do.
    """
    if not request.names_nets:
        if request.recipe or request.changes or request.seeds or request.init_from:
            raise UsageError(
                "--recipe, --set, --seeds and --init-from say how to train what --array or --models names: give one"
            )
        return Selection(_declared(study, request.dataset, data), study.texts())
    seeds = parse_ranges(request.seeds or "0", "--seeds")
    datasets = _datasets(request.dataset, data)
    nets = find_nets(request.array, request.population, request.models, study.texts())
    if request.recipe is None:
        log.info("recipe %s, for a first look (--recipe names another)", DEFAULT_RECIPE)
    tasks = make_tasks(nets.names, datasets, request.recipe or DEFAULT_RECIPE, request.changes, seeds)
    check_builds(tasks, datasets, nets.texts, request.image)
    if not request.init_from:
        return Selection(_by_id(tasks), nets.texts)
    if names_weights(request.init_from):
        tasks = started_from_weights(tasks, request.init_from, nets.texts)
        return Selection(_by_id(tasks), nets.texts, request.init_from)
    return Selection(_by_id(started_from(tasks, study, request.init_from)), nets.texts)


def _by_id(tasks: Sequence[Task]) -> dict[str, Task]:
    return {task.id: task for task in tasks}


def find_nets(array: str | None, population: str, models: Sequence[str], kept: Mapping[str, str]) -> Nets:
    """Members ``array`` of a population, then ``models``, each once. Raises `UsageError` for an unknown one.

    A population is a shipped one or a file, and is meant as a whole without ``array`` unless it is `POPULATION`; a
    model is a name, a source file's callable, or a whole population.
    ``kept``: the study's texts, for names such as ``mynets@9f86d081884c/Net``.
    """
    freezer = Freezer(dict(kept))
    names = freezer.population(population) if array or population != POPULATION else []
    names = [names[i] for i in parse_ranges(array, "--array", len(names))] if array else names
    for word in models:
        whole = word in POPULATIONS or is_population_file(word)
        names += freezer.population(word) if whole else [freezer.model(word)]
    return Nets(list(dict.fromkeys(architecture(name, freezer.texts).name for name in names)), freezer.texts)


def _datasets(names: Sequence[str], data: Path) -> list[Dataset]:
    if not names:
        names = sorted(path.parent.name for path in data.glob("demo-*/dataset.json"))
        if not names:
            raise UsageError(f"no --dataset given and no demo dataset in {data}: write some by `make demo`")
        log.info("datasets %s, the demo's (--dataset names others)", ", ".join(names))
    found = [find_dataset(name, data) for name in dict.fromkeys(names)]
    known: dict[str, str] = {}
    for dataset in found:
        if (twin := known.setdefault(dataset.manifest.content_hash, dataset.path.name)) != dataset.path.name:
            raise UsageError(
                f"--dataset {twin} and {dataset.path.name} hold the same images and labels (one content hash): a task "
                "is known by its content, so leave one of them out"
            )
    return found


def _declared(study: Study, names: Sequence[str], data: Path) -> DeclaredTasks:
    """Tasks declared before, on datasets that are still what they were."""
    tasks = {task_id: label for task_id, label in study.labels().items() if not names or label.dataset in names}
    if not tasks:
        where = f" on {', '.join(names)}" if names else ""
        raise UsageError(f"study {study.path} has declared nothing{where}: give --array 0-499 or --models NAME ...")
    found = DeclaredTasks(study.room("tasks"), tasks)
    for task_id in {(label.dataset, label.dataset_hash, label.manifest_hash): i for i, label in tasks.items()}.values():
        found[task_id].check_dataset(find_dataset(found[task_id].dataset, data))
    return found
