"""A launch runs what is declared and not done, and what nobody holds."""

import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.study.strategies import result
from toolkit.errors import UsageError
from toolkit.launching.cost import estimate, size_of
from toolkit.launching.memory import LaunchMemory
from toolkit.launching.reconcile import RETRIES, Plan, cancel, carry_out, make_plan, no_display, preview
from toolkit.launching.request import LaunchRequest
from toolkit.study import Study, find_dataset
from toolkit.study.states import STATES, UNFINISHED, TaskState
from toolkit.study.submission import new_submission, record_path, submissions


@pytest.fixture
def request_(data: Path, tmp_path: Path) -> LaunchRequest:
    return LaunchRequest(
        study=str(tmp_path / "study"), array="0-2", dataset=("one", "two"), data=str(data), recipe="smoke",
        executor="local", changes=("batch=4",),
    )  # fmt: skip


def summary(tasks: int, to_run: int, elements: int, per_element: int) -> dict[str, int]:
    return {"tasks": tasks, "to_run": to_run, "elements": elements, "per_element": per_element}


def of(document: dict[str, object]) -> dict[str, object]:
    return {key: document[key] for key in summary(0, 0, 0, 0)}


@pytest.fixture(scope="module")
def plan(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    study = str(tmp_path_factory.mktemp("runs") / "s")
    what = LaunchRequest(study=study, array="0-4", dataset=("one",), data=str(data), changes=("batch=4",))
    return make_plan(replace(what, executor="debug"))


@given(st.data())
@settings(max_examples=40)
def test_what_nobody_holds_and_is_wanted_is_run(plan: Plan, data: st.DataObject) -> None:
    states = st.builds(TaskState, st.sampled_from(STATES), held=st.booleans())
    known = data.draw(st.dictionaries(st.sampled_from(list(plan.tasks)), states))
    retry = data.draw(st.lists(st.sampled_from(list(RETRIES))))
    wanted = UNFINISHED.union(*(RETRIES[kind] for kind in retry))
    found = replace(plan, wanted=wanted).to_run(known)
    assert list(found) == [i for i in plan.tasks if i not in known or (not known[i].held and known[i].state in wanted)]
    assert all(found[i] == plan.tasks[i] for i in found)


def test_every_state_that_is_no_finding_can_be_tried_again() -> None:
    assert RETRIES["all"] == RETRIES["failed"] | RETRIES["diverged"] | RETRIES["lost"]
    assert set(STATES) - UNFINISHED - RETRIES["all"] == {"done", "running", "queued", "paused"}


def test_a_preview_writes_nothing_and_counts_the_cost(request_: LaunchRequest, data: Path) -> None:
    plan = make_plan(replace(request_, per_job=2, jobs=3))
    document = preview(plan)
    assert of(document) == summary(6, 6, 4, 2)
    assert (document["executor"], document["jobs"], document["study"]) == ("local", 3, request_.study)
    cost = estimate(list(plan.tasks.values()), lambda name: size_of(find_dataset(name, data).manifest))
    assert (document["images"], document["flops"]) == (cost.images, cost.flops)
    assert document["hours"] == round(cost.hours, 3) and cost.device in document["hours_on"]
    assert "waiting" not in document and "uncounted" not in document
    assert not Path(request_.study).exists()


def test_a_finished_study_submits_nothing(request_: LaunchRequest, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    plan = make_plan(request_)
    study = Study.create(request_.study)
    study.declare(plan.tasks.values())
    for task in plan.tasks.values():
        result(task).write(study.result_path(task.id))
    document = carry_out(plan, no_display)
    assert of(document) == summary(6, 0, 0, 0)
    assert document["states"] == {"done": 6}
    assert (document["jobs"], document["failed_here"], document["beyond_limit"]) == ([], 0, 0)
    assert submissions(study) == [] and study.tasks() == dict(plan.tasks)
    assert LaunchMemory.of(study).data == request_.data
    assert caplog.messages[-1] == f"study {study.path}: 6 tasks, 0 to run"


def test_a_later_call_without_nets_is_about_what_was_declared(request_: LaunchRequest) -> None:
    plan = make_plan(request_)
    study = Study.create(request_.study)
    study.declare(plan.tasks.values())
    tasks = list(plan.tasks.values())
    result(tasks[0]).write(study.result_path(tasks[0].id))
    result(tasks[1]).model_copy(update={"status": "failed", "evaluations": ()}).write(study.result_path(tasks[1].id))
    again = LaunchRequest(study=request_.study, data=request_.data, executor="local")
    document = preview(make_plan(again))
    assert of(document) == summary(6, 4, 4, 1)
    assert preview(make_plan(replace(again, dataset=("two",))))["to_run"] == 3
    with pytest.raises(UsageError, match="say how to train what --array or --models names"):
        make_plan(replace(again, seeds="1"))
    with pytest.raises(UsageError, match=r"has declared nothing on three: give --array 0-499 or --models NAME"):
        make_plan(replace(again, dataset=("three",)))
    assert make_plan(again).wanted == UNFINISHED
    assert make_plan(replace(again, retry=("diverged", "lost"))).wanted == UNFINISHED | {"diverged"}


def test_a_transfer_waits_for_its_start_in_the_same_call(request_: LaunchRequest, data: Path) -> None:
    first = make_plan(replace(request_, dataset=("one",)))
    study = Study.create(request_.study)
    study.declare(first.tasks.values())
    transfer = make_plan(replace(request_, dataset=("two",), init_from="one"))
    assert {task.column for task in transfer.tasks.values()} == {"two<-one"}
    with pytest.raises(UsageError, match=r"of anynetx-500/0-2 \(3 waiting\)"):
        preview(transfer)
    study.declare(transfer.tasks.values())
    both = preview(make_plan(LaunchRequest(study=request_.study, data=request_.data, executor="local")))
    assert both["waiting"] == "3 tasks, for what they start from" and both["to_run"] == 6


def test_what_a_live_launcher_holds_is_left_to_it(request_: LaunchRequest) -> None:
    plan = make_plan(request_)
    study = Study.create(request_.study)
    study.declare(plan.tasks.values())
    held = list(plan.tasks)[:4]
    submission = new_submission(study, "local", [held], plan.data)
    submission.write(record_path(study, submission))
    assert preview(plan)["to_run"] == 2
    record_path(study, submission).unlink()
    gone = submission.model_copy(update={"began": "another boot/1"})
    gone.write(record_path(study, gone))
    assert preview(plan)["to_run"] == 6
    assert cancel(request_.study) == {"study": request_.study, "cancelled": [], "jobs": []}


def test_a_launcher_on_another_machine_is_ended_there(request_: LaunchRequest) -> None:
    study = Study.create(request_.study)
    submission = new_submission(study, "local", [], Path("data")).model_copy(update={"host": "elsewhere"})
    submission.write(record_path(study, submission))
    with pytest.raises(Exception, match=rf"was launched on elsewhere: end process {os.getpid()} there"):
        cancel(request_.study)
    assert not submissions(study)[0].cancelled


def test_options_that_cannot_be_followed_are_refused(request_: LaunchRequest) -> None:
    with pytest.raises(UsageError, match=r"--executor debug trains in this process, not in image x\.sif: --exec"):
        make_plan(replace(request_, executor="debug", image="x.sif"))
    assert make_plan(replace(request_, executor="debug", image="", jobs=4)).jobs == 1
    with pytest.raises(UsageError, match="no display"):
        no_display(Study(Path("s")), 1)
    assert make_plan(request_).pack == 1 and make_plan(replace(request_, pack=0)).pack == 0
