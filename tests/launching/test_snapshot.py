"""A look at a study counts every task once, and says what went wrong where."""

from pathlib import Path

import pytest

from tests.study.strategies import result, task
from toolkit.launching.snapshot import StudySnapshot
from toolkit.study import Failure, Study
from toolkit.study.states import TaskState
from toolkit.study.submission import new_submission, record_path

TASKS = [task(f"anynetx-500/{i}", seed=seed) for i in range(3) for seed in range(2)]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study.create(tmp_path / "study")
    made.declare(TASKS)
    return made


def fail(study: Study, number: int, status: str = "failed", host: str = "") -> None:
    one = result(TASKS[number])
    failure = Failure(kind="out-of-memory", message="CUDA out of memory")
    provenance = one.provenance.model_copy(update={"host": host})
    changes = {"status": status, "failure": failure, "evaluations": (), "provenance": provenance}
    one.model_copy(update=changes).write(study.result_path(one.id))


def test_trouble_is_counted_by_its_node(study: Study) -> None:
    result(TASKS[0]).write(study.result_path(TASKS[0].id))
    fail(study, 1, host="n1")
    fail(study, 2, "diverged", host="n3")
    fail(study, 3, host="n2")
    fail(study, 4, host="n2")
    look = StudySnapshot.of(str(study.path))
    assert list(look.by_node().items()) == [("n2", 2), ("n1", 1)]
    assert list(look.trouble()) == [TASKS[i].id for i in (1, 2, 3, 4)]
    assert not look.in_flight and look.stuck() == {}
    document = look.document()
    assert document["tasks"] == 6 and document["study"] == str(study.path)
    assert document["states"] == {"done": 1, "failed": 3, "diverged": 1, "waiting": 1}
    assert [(row["id"], row["seed"], row["state"]) for row in document["trouble"]] == [
        (TASKS[1].id, 1, "failed"), (TASKS[2].id, 0, "diverged"), (TASKS[3].id, 1, "failed"), (TASKS[4].id, 0, "failed")
    ]  # fmt: skip
    assert {row["architecture"] for row in document["trouble"]} == {f"anynetx-500/{i}" for i in range(3)}
    assert all(row["dataset"] == "toy" and "CUDA out of memory" in row["reason"] for row in document["trouble"])
    assert (document["trouble_by_node"], document["running"], document["stuck"]) == ({"n2": 2, "n1": 1}, {}, {})
    assert document["ranges"][0] == {"dataset": "toy", "state": "done", "group": "anynetx-500", "members": "0"}
    assert sum(len(ids) for ids in document["ids"].values()) == 6
    assert document["undeclared"] == 0
    other = task("anynetx-500/7")
    result(other).write(study.result_path(other.id))
    assert StudySnapshot.of(str(study.path)).document()["undeclared"] == 1


def test_the_node_of_a_lost_task_is_known_by_the_strikes_against_it(study: Study) -> None:
    for index, (job, node) in enumerate((("7", "n1"), ("8", "n2"), (None, "n3"))):
        submission = new_submission(study, "slurm", [[TASKS[index].id], [TASKS[index + 3].id]], Path("data"))
        changes = {"job": job, "created": submission.created - 1000}
        submission.model_copy(update=changes).write(record_path(study, submission))
        (study.path / "nodes").mkdir(exist_ok=True)
        (study.path / "nodes" / node).write_text(f"{job} 1 100\n")
    states = {t.id: s for t in TASKS for s in [TaskState("lost")]}
    look = StudySnapshot.of(str(study.path))
    lost = {i: s._replace(state="lost", held=False) for i, s in look.states.items()}
    assert StudySnapshot(study, look.tasks, lost).by_node() == {"n1": 1, "n2": 1}
    assert StudySnapshot(study, look.tasks, states).by_node() == {}


def test_what_waits_for_more_than_its_turn_is_counted(study: Study) -> None:
    ids = [t.id for t in TASKS]
    reasons = ["pending (JobHeldUser)", "pending (JobHeldUser)", "pending", "", "pending (BadConstraints)", "x (y)"]
    states = {i: TaskState("queued", reason, held=True) for i, reason in zip(ids, reasons, strict=True)}
    states[ids[5]] = TaskState("lost", "x (y)")
    look = StudySnapshot(study, study.labels(), states)
    assert look.stuck() == {"pending (JobHeldUser)": 2, "pending (BadConstraints)": 1}
    assert look.in_flight
    assert StudySnapshot(study, study.labels(), {ids[0]: TaskState("running")}).in_flight


def test_a_look_without_squeue_says_that_the_queue_is_not_known(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert StudySnapshot.of(str(study.path)).warning == ""
    submission = new_submission(study, "slurm", [[TASKS[0].id]], Path("data")).model_copy(update={"job": "7"})
    submission.write(record_path(study, submission))
    look = StudySnapshot.of(str(study.path)).again()
    assert look.warning == "no squeue here: what was submitted to Slurm and has no result counts as queued"
    assert look.document()["warning"] == look.warning and look.ids()["queued"] == [TASKS[0].id]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("Priority", ""),
        ("Resources", ""),
        ("None", ""),
        ("QOSMaxMemoryPerUser", "pending (QOSMaxMemoryPerUser)"),
        ("AssocGrpGRES", "pending (AssocGrpGRES)"),
        ("PartitionTimeLimit", "pending (PartitionTimeLimit)"),
        ("ReqNodeNotAvail, UnavailableNodes:n1", "pending (ReqNodeNotAvail)"),
        ("launch failed requeued held", "pending (launch failed requeued held)"),
    ],
)
def test_what_slurm_says_of_a_job_that_waits_for_more_than_its_turn_is_shown(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str, told: str
) -> None:
    """A limit of a QOS or an account needs a cluster with such limits; squeue's line is all that is read of it."""
    submission = new_submission(study, "slurm", [[TASKS[0].id]], Path("data")).model_copy(update={"job": "7"})
    submission.write(record_path(study, submission))
    for name in ("sbatch", "squeue"):
        line = f"7|0|PENDING|{reason}|0|N/A|{submission.name}|/tmp/x/{submission.name}.sbatch"
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{line}'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    look = StudySnapshot.of(str(study.path))
    assert look.ids()["queued"] == [TASKS[0].id]
    assert look.stuck() == ({told: 1} if told else {})
