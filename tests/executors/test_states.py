import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.study.strategies import result
from toolkit.study import Progress, Recipe, Study, Task
from toolkit.study.progress import LOST_AFTER_S
from toolkit.study.states import Queue, task_states
from toolkit.study.submission import Submission, new_submission, record_path

TASK = Task(architecture="anynetx-500/0", dataset="d", dataset_hash="h", recipe=Recipe())


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study.create(tmp_path / 'it\'s a "study"')
    made.declare([TASK])
    return made


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def submitted(study: Study, executor: str = "slurm", **changes: object) -> Submission:
    submission = new_submission(study, executor, [[TASK.id]], Path("data"))
    submission = submission.model_copy(update={"job": "7", "created": time.time() - 60, **changes})
    submission.write(record_path(study, submission))
    return submission


def beat(
    study: Study, phase: str = "training", age: float = 0.0, pid: int | None = None, host: str = "", clock: float = 0.0
) -> None:
    """A heartbeat of so many seconds ago, from a node whose clock is so many seconds fast."""
    progress = Progress(
        phase=phase,
        epoch=1,
        epochs=4,
        updated=time.time() - age + clock,
        host=host or socket.gethostname(),
        pid=pid or os.getpid(),
    )
    progress.write(study.progress_path(TASK.id))
    os.utime(study.progress_path(TASK.id), (time.time() - age,) * 2)


def state(study: Study, queue: Queue | None = None) -> tuple[str, bool]:
    found = task_states(study, {} if queue is None else queue)[TASK.id]
    return found.state, found.held


def test_never_submitted_is_waiting(study: Study) -> None:
    assert state(study) == ("waiting", False)


@pytest.mark.parametrize("slurm_says", ["PENDING", "RUNNING", "COMPLETING", "REQUEUED"])
def test_in_the_queue_is_held(study: Study, slurm_says: str) -> None:
    queue = {submitted(study).name: {0: slurm_says}}
    assert state(study, queue) == ("queued", True)
    assert task_states(study, queue)[TASK.id].reason == ("" if slurm_says == "RUNNING" else slurm_says.lower())


def test_a_job_that_ended_well_has_a_result_that_may_be_late(study: Study) -> None:
    ended = {submitted(study).name: {0: "COMPLETED"}}
    for age in (0, LOST_AFTER_S + 1):
        beat(study, age=age, host="node7")
        assert state(study, ended) == ("finishing", True)
    assert state(study, {}) == ("lost", False)
    result(TASK).write(study.result_path(TASK.id))
    assert state(study, ended) == ("done", False)


def test_the_queue_knows_a_job_whose_id_was_never_recorded(study: Study) -> None:
    name = submitted(study, job=None, created=time.time() - 1000).name
    assert state(study, {name: {0: "PENDING"}}) == ("queued", True)
    assert state(study, {}) == ("lost", False)


def test_a_record_that_sbatch_has_not_answered_yet_is_held(study: Study) -> None:
    submitted(study, job=None, created=time.time())
    assert state(study, {}) == ("queued", True)


def test_an_unknown_queue_holds_what_was_submitted(study: Study) -> None:
    submitted(study)
    assert task_states(study, None)[TASK.id].held


def test_a_heartbeat_is_a_running_task(study: Study) -> None:
    name = submitted(study).name
    beat(study, host="elsewhere")
    assert state(study, {name: {0: "RUNNING"}}) == ("running", True)


def test_a_dead_process_is_lost_at_once(study: Study) -> None:
    submitted(study)
    beat(study, pid=dead_pid())
    assert state(study) == ("lost", False)


def test_a_node_that_went_silent_is_lost_but_left_to_the_queue(study: Study) -> None:
    name = submitted(study, created=time.time() - 1000).name
    beat(study, age=LOST_AFTER_S + 1, host="elsewhere")
    assert state(study, {name: {0: "RUNNING"}}) == ("lost", True)
    assert state(study, {name: {0: "PENDING"}}) == ("queued", True)
    assert state(study, {}) == ("lost", False)


def test_the_heartbeat_of_an_earlier_attempt_does_not_count_against_the_next(study: Study) -> None:
    beat(study, age=600, host="elsewhere")
    name = submitted(study).name
    assert state(study, {name: {0: "RUNNING"}}) == ("queued", True)


@pytest.mark.parametrize("clock", [-86_400, -600, 600, 86_400])
def test_a_clock_that_is_off_makes_no_task_lost_and_none_alive(study: Study, clock: float) -> None:
    name = submitted(study, created=time.time() - 1000).name
    beat(study, host="elsewhere", clock=clock)
    assert state(study, {name: {0: "RUNNING"}}) == ("running", True)
    beat(study, age=LOST_AFTER_S + 1, host="elsewhere", clock=clock)
    assert state(study, {name: {0: "RUNNING"}}) == ("lost", True)
    assert state(study, {}) == ("lost", False)


def test_a_launcher_whose_clock_is_off_dates_its_submission_by_the_file_system(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1e9)
    created = new_submission(study, "slurm", [[TASK.id]], Path("data")).created
    monkeypatch.undo()
    assert abs(created - time.time()) < 60


def test_a_task_is_paused_until_it_is_submitted_again(study: Study) -> None:
    name = submitted(study, created=time.time() - 1000).name
    beat(study, phase="paused", age=500, pid=dead_pid())
    assert state(study, {name: {0: "RUNNING"}}) == ("paused", False)  # its element trains another task
    later = submitted(study).name
    assert state(study, {later: {0: "PENDING"}}) == ("queued", True)
    beat(study, phase="paused", age=20, host="elsewhere")  # a moment ago: what is saved does not run
    at_once = submitted(study, created=time.time()).name
    assert state(study, {at_once: {0: "PENDING"}}) == ("queued", True)


def test_saved_and_out_of_the_queue_is_preempted(study: Study) -> None:
    submitted(study)
    beat(study, phase="preempted", pid=dead_pid())
    assert state(study) == ("preempted", False)


def test_local_tasks_are_held_as_long_as_their_launcher_lives(study: Study) -> None:
    submitted(study, "local")
    assert state(study) == ("queued", True)
    submitted(study, "local", pid=dead_pid(), created=time.time())
    assert state(study) == ("lost", False)


def test_a_launcher_elsewhere_lives_by_its_heartbeat(study: Study) -> None:
    record = record_path(study, submitted(study, "local", host="elsewhere"))
    assert state(study) == ("queued", True)
    long_ago = time.time() - LOST_AFTER_S - 1
    os.utime(record, (long_ago, long_ago))
    assert state(study) == ("lost", False)


def test_a_local_task_whose_worker_died_may_run_elsewhere(study: Study) -> None:
    submitted(study, "local")
    beat(study, pid=dead_pid())
    assert state(study) == ("lost", False)


def test_cancelled_is_waiting_again(study: Study) -> None:
    submitted(study, cancelled=True)
    assert state(study) == ("waiting", False)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"status": "fine"}', b'{"status": "done", "id": "other"}'])
def test_a_result_that_is_none_is_damaged_and_named(study: Study, content: bytes) -> None:
    study.result_path(TASK.id).write_bytes(content)
    found = task_states(study, {})[TASK.id]
    assert found.state == "damaged"
    assert f"{TASK.id}.json" in found.reason
