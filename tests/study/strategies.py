"""Small valid nouns for tests."""

from toolkit.study import Evaluation, Manifest, Provenance, Recipe, Result, Split, Task, Timing

HASH = "ab" * 32


def task(architecture: str = "anynetx-500/0", dataset: str = "toy", seed: int = 0, **recipe: object) -> Task:
    return Task(
        architecture=architecture, dataset=dataset, dataset_hash=HASH, recipe=Recipe.model_validate(recipe), seed=seed
    )


def result(of: Task, wrong: int = 3, images: int = 10) -> Result:
    return Result(
        id=of.id,
        task=of,
        status="done",
        metric="top1",
        classes=2,
        evaluations=(Evaluation(epoch=1, images=images, wrong_top1=wrong, wrong_top5=0, loss=0.5),),
        timing=Timing(total_s=1.0),
        provenance=Provenance(toolkit="0", dataset_hash=HASH),
    )


def manifest(name: str, train: bytes, val: bytes) -> Manifest:
    return Manifest(
        name=name,
        classes=("a", "b"),
        splits={
            "train": Split(file="train.beton", bytes=len(train), samples=4, class_counts=(2, 2)),
            "val": Split(file="val.beton", bytes=len(val), samples=2, class_counts=(1, 1)),
        },
        image_size=(8, 8),
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        content_hash=HASH,
    )
