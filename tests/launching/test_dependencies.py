"""What starts from other weights waits for them, and for nothing else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import UsageError
from toolkit.launching.dependencies import in_stages, started_from
from toolkit.study import Recipe, Study, Task
from toolkit.study.states import TaskState
from toolkit.study.task import Start


def on(dataset: str, net: int, seed: int = 0, **recipe: object) -> Task:
    name = f"anynetx-500/{net}"
    return Task(
        architecture=name, dataset=dataset, dataset_hash=dataset, recipe=Recipe.model_validate(recipe), seed=seed
    )


def after(task: Task, source: Task) -> Task:
    start = Start(task=source.id, dataset=source.dataset)
    return Task.model_validate({**task.model_dump(), "start": start})


def give_weights(study: Study, task: Task) -> None:
    study.checkpoint_folder(task.id).mkdir(parents=True)
    (study.checkpoint_folder(task.id) / "final.pt").touch()


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study.create(tmp_path / "study")
    made.declare([on("a", net, seed) for net in (0, 1) for seed in (0, 1)])
    return made


def test_a_start_has_the_same_net_and_seed(study: Study) -> None:
    found = started_from([on("b", net, seed) for net in (1, 0) for seed in (0, 1)], study, "a")
    assert [(t.start.task, t.start.dataset, t.column) for t in found] == [
        (on("a", net, seed).id, "a", "b<-a") for net in (1, 0) for seed in (0, 1)
    ]
    study.declare(found)
    assert started_from([on("c", 0)], study, "a")[0].start.task == on("a", 0).id


def test_what_the_source_does_not_train_is_named(study: Study) -> None:
    with pytest.raises(UsageError, match=r"--init-from a: study .* has no task there of anynetx-500/7-8: launch them"):
        started_from([on("b", 0), on("b", 7), on("b", 8)], study, "a")
    with pytest.raises(UsageError, match="no task there of anynetx-500/0"):
        started_from([on("b", 0, seed=2)], study, "a")
    with pytest.raises(UsageError, match="--init-from b"):
        started_from([on("c", 0)], study, "b")


def test_of_two_that_train_the_source_the_one_with_weights_counts(study: Study) -> None:
    other = on("a", 0, epochs=99)
    study.declare([other])
    both = " and ".join((on("a", 0).id, other.id))
    with pytest.raises(UsageError, match=f"--init-from a: tasks {both} both train it"):
        started_from([on("b", 0)], study, "a")
    give_weights(study, other)
    assert started_from([on("b", 0)], study, "a")[0].start.task == other.id


@given(st.lists(st.sampled_from(["none", "published", "final", "here", "queued"]), min_size=1, max_size=6))
def test_every_task_is_in_one_stage(tmp_path_factory: pytest.TempPathFactory, kinds: list[str]) -> None:
    study = Study(tmp_path_factory.mktemp("study"))
    tasks, states, queued = {}, {}, set()
    for net, kind in enumerate(kinds):
        source = on("a", net)
        task = on("b", net) if kind == "none" else after(on("b", net), source)
        if kind == "published":
            start = Start(task=source.id, dataset="pretrained", weights="timm/any")
            task = Task.model_validate({**task.model_dump(), "start": start})
        if kind == "final":
            give_weights(study, source)
        if kind == "here":
            tasks[source.id] = source
        if kind == "queued":
            states[source.id] = TaskState("queued", submission=f"s.{net}", held=True)
            queued.add(f"s.{net}")
        tasks[task.id] = task
    found = in_stages(study, tasks, states, queued | {"unrelated"})
    waiting = {f"anynetx-500/{net}" for net, kind in enumerate(kinds) if kind in ("here", "queued")}
    assert {task.architecture for task in found.second.values()} == waiting
    assert all(task.start for task in found.second.values())
    assert found.after == queued
    assert found.first.keys() | found.second.keys() == tasks.keys() and not found.first.keys() & found.second.keys()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (None, "1 unknown"),
        (TaskState("failed", submission="s.1"), "1 failed"),
        (TaskState("queued", submission="gone", held=True), "1 queued"),
        (TaskState("lost", submission="s.1"), "1 lost"),
        (TaskState("running", held=True), "1 running"),
    ],
)
def test_a_start_that_nobody_trains_is_refused(study: Study, source: TaskState | None, said: str) -> None:
    task = after(on("b", 0), on("a", 0))
    states = {} if source is None else {on("a", 0).id: source}
    with pytest.raises(UsageError, match=rf"no final weights on a in study .* of anynetx-500/0 \({said}\): train them"):
        in_stages(study, {task.id: task}, states, {"s.1"})
