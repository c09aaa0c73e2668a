"""From the words of a command line to tasks, with everything looked up and checked."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit.errors import UsageError
from toolkit.launching.dependencies import started_from
from toolkit.launching.request import LaunchRequest
from toolkit.launching.tasks import make_tasks
from toolkit.study import Dataset, Study, Task, find_dataset
from toolkit.study.declared import DeclaredTasks
from toolkit.study.ranges import parse_ranges

log = logging.getLogger(__name__)
DEFAULT_RECIPE = "quick"


def select(request: LaunchRequest, study: Study, data: Path) -> Mapping[str, Task]:
    """The tasks a launch is about: those its options name, else those that the study has declared.

    Raises `UsageError` for an unknown name, an index out of range, a recipe or dataset that does not do.
    """
    if not (request.array or request.models):
        if request.recipe or request.changes or request.seeds or request.init_from:
            raise UsageError(
                "--recipe, --set, --seeds and --init-from say how to train what --array or --models names: give one"
            )
        return _declared(study, request.dataset, data)
    seeds = parse_ranges(request.seeds or "0", "--seeds")
    datasets = _datasets(request.dataset, data)
    nets = architectures(request.array, request.population, request.models)
    if request.recipe is None:
        log.info("recipe %s, for a first look (--recipe names another)", DEFAULT_RECIPE)
    tasks = make_tasks(nets, datasets, request.recipe or DEFAULT_RECIPE, request.changes, seeds)
    tasks = started_from(tasks, study, request.init_from) if request.init_from else tasks
    return {task.id: task for task in tasks}


def architectures(array: str | None, population: str, models: Sequence[str]) -> list[str]:
    """Members ``array`` of a population, then ``models``, each once. Raises `UsageError` for an unknown one."""
    from toolkit.anynet import POPULATIONS, architecture, load_population

    members = load_population(population).architectures
    names = [members[i] for i in parse_ranges(array, "--array", len(members))] if array else []
    for name in models:
        names += load_population(name).architectures if name in POPULATIONS else [architecture(name).name]
    return list(dict.fromkeys(names))


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
    hashes = {(label.dataset, label.dataset_hash) for label in tasks.values()}
    for name, content_hash in sorted(hashes):
        dataset = find_dataset(name, data)
        if dataset.manifest.content_hash != content_hash:
            raise UsageError(f"{dataset.path} is not what study {study.path} was declared on: restore that dataset")
    return DeclaredTasks(study.room("tasks"), tasks)
