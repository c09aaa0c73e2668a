"""Studies written through the project's own models, for tests and benchmarks of what reads them."""

from collections.abc import Iterable
from pathlib import Path

from toolkit.study import Evaluation, Failure, Provenance, Recipe, Result, Study, Task, Timing


def make_task(architecture: str, dataset: str, seed: int = 0, **fields) -> Task:
    return Task(architecture=architecture, dataset=dataset, dataset_hash="h" + dataset, seed=seed,
                recipe=Recipe(epochs=fields.pop("epochs", 2)), recipe_name="quick", **fields)  # fmt: skip


def make_result(task: Task, wrong: int | None, images: int = 1000, status: str = "done") -> Result:
    evaluations = [
        Evaluation(epoch=e, images=images, wrong_top1=wrong, wrong_top5=wrong // 2, loss=1.0)
        for e in range(1, task.recipe.epochs + 1)
    ] if wrong is not None else []  # fmt: skip
    return Result(
        id=task.id, task=task, status=status, metric="top1", classes=10, evaluations=evaluations,
        flops=370_000_000, params=3_000_000, resolution=32, timing=Timing(total_s=12.5, images_per_s=600.0),
        provenance=Provenance(toolkit="0.1.0", dataset_hash=task.dataset_hash),
        failure=None if status == "done" else Failure(kind="nan-loss", message="loss is NaN in epoch 1"),
    )  # fmt: skip


def write_study(path: Path, results: Iterable[Result], unfinished: Iterable[Task] = ()) -> Study:
    study = Study.create(path)
    results = list(results)
    study.declare([result.task for result in results] + list(unfinished))
    for result in results:
        result.write(study.result_path(result.id))
    return study
