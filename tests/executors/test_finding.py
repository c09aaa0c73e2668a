"""A task is found by what a person knows of it."""

from pathlib import Path

import orjson
import pytest

from tests.executors.conftest import launch, verb
from tests.study.strategies import result, task
from toolkit.errors import UsageError
from toolkit.launching.snapshot import StudySnapshot
from toolkit.study import Study

TASKS = [task(f"anynetx-500/{i}", seed=seed) for i in range(3) for seed in range(2)]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study.create(tmp_path / "study")
    made.declare(TASKS)
    result(TASKS[1]).write(made.result_path(TASKS[1].id))
    return made


def test_a_net_names_its_task(study: Study) -> None:
    wanted = TASKS[3]
    assert study.find(wanted.architecture, wanted.dataset, 1) == study.find(wanted.architecture, seed=1) == wanted.id
    assert study.find(wanted.id[:8]) == wanted.id
    with pytest.raises(UsageError, match=r"fits 2 tasks: give --dataset \(.*\) and --seed \(0-1\)"):
        study.find(wanted.architecture)
    with pytest.raises(UsageError, match="anynetx-500/7 on any dataset is no task"):
        study.find("anynetx-500/7")


def test_status_lists_ids_and_names_seeds(study: Study) -> None:
    look = StudySnapshot.of(str(study.path))
    assert look.ids() == {"waiting": [t.id for t in TASKS if t is not TASKS[1]], "done": [TASKS[1].id]}
    assert look.listed(["done"]) == [f"{TASKS[1].id} done      {TASKS[1].architecture} on {TASKS[1].dataset}, seed 1"]
    assert len(look.listed([])) == len(TASKS)
    with pytest.raises(UsageError, match="did you mean done"):
        look.listed(["don"])
    column = TASKS[0].dataset
    assert look.ranges_by_seed() == [
        (column, "waiting", "anynetx-500", "0", "0"),
        (column, "waiting", "anynetx-500", "1-2", "0-1"),
        (column, "done", "anynetx-500", "0", "1"),
    ]
    foreign = task("anynetx-500/9")
    result(foreign).write(study.result_path(foreign.id))
    shown = verb("toolkit.status", study.path).stdout
    assert "1 results of tasks that are not declared here" in shown
    assert f"{column} waiting: anynetx-500 1-2, seed 0-1" in shown
    assert orjson.loads(verb("toolkit.status", study.path, "--json").stdout)["ids"] == look.ids()


def test_the_log_of_a_net_is_found_by_its_name(data: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    call = ["--array", "0", "--seeds", "0-1", "--dataset", "tiny", "--executor", "local", "--jobs", 1, "--per-job", 2]
    said = launch(study, data, *call)["stderr"]
    assert "anynetx-500/0 on tiny, seed 1" in said
    shown = verb("toolkit.logs", study, "anynetx-500/0", "--dataset", "tiny", "--seed", 1).stdout
    assert shown.startswith(f"{Study(study).find('anynetx-500/0', 'tiny', 1)} anynetx-500/0 on tiny")
