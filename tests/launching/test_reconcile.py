"""A launch runs what is declared and not done, and what nobody holds."""

import logging
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.study.strategies import result
from toolkit.errors import UsageError
from toolkit.executors.base import Elements, Executor
from toolkit.executors.local import Display
from toolkit.launching.cost import estimate, size_of
from toolkit.launching.memory import LaunchMemory
from toolkit.launching.reconcile import RETRIES, Plan, cancel, carry_out, make_plan, no_display, preview
from toolkit.launching.request import LaunchRequest
from toolkit.study import Progress, Study, find_dataset
from toolkit.study.conditions import conditions
from toolkit.study.states import STATES, UNFINISHED, State, TaskState
from toolkit.study.submission import (
    NONE_YET,
    Manner,
    Rises,
    Submission,
    new_submission,
    process_began,
    record_path,
    submissions,
)
from toolkit.training.request import TrainRequest


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


cells = st.none() | st.tuples(st.sampled_from(STATES), st.booleans())


@given(st.lists(cells, min_size=5, max_size=5), st.lists(st.sampled_from(list(RETRIES)), max_size=3))
@settings(max_examples=60)
def test_what_nobody_holds_and_is_wanted_is_run(
    plan: Plan, told_of: list[tuple[State, bool] | None], retry: list[str]
) -> None:
    pairs = zip(plan.tasks, told_of, strict=True)
    known = {i: TaskState(cell[0], held=cell[1]) for i, cell in pairs if cell is not None}
    wanted = UNFINISHED.union(*(RETRIES[kind] for kind in retry))
    found = replace(plan, wanted=wanted).to_run(known)
    assert list(found) == [i for i in plan.tasks if i not in known or (not known[i].held and known[i].state in wanted)]
    assert all(found[i] == plan.tasks[i] for i in found)


def test_every_state_that_is_no_finding_can_be_tried_again() -> None:
    assert RETRIES["all"] == RETRIES["failed"] | RETRIES["diverged"] | RETRIES["lost"]
    assert set(STATES) - UNFINISHED - RETRIES["all"] == {"done", "running", "finishing", "queued", "paused"}


def test_a_preview_writes_nothing_and_counts_the_cost(request_: LaunchRequest, data: Path) -> None:
    plan = make_plan(replace(request_, per_job=2, jobs=3))
    document = preview(plan)
    assert of(document) == summary(6, 6, 4, 2)
    assert (document["executor"], document["jobs"], document["study"]) == ("local", 3, request_.study)
    cost = estimate(list(plan.tasks.values()), lambda name: size_of(find_dataset(name, data).manifest))
    assert (document["images"], document["flops"]) == (cost.images, cost.flops)
    assert document["hours"] == round(cost.hours, 3) and cost.device in document["hours_on"]
    assert "waiting" not in document and "uncounted" not in document
    assert document["trained_by"] == "; ".join(conditions(plan.tasks.values()))
    assert not Path(request_.study).exists()


def test_ways_reach_the_gpus_that_a_launch_gives_its_tasks(
    request_: LaunchRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(request_, ways=("cuda-graphs",), pack=2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    plan = make_plan(asked)
    Study.create(plan.study.path)
    [submission] = plan.backend(no_display).submit(plan.elements(plan.tasks))
    [read] = submissions(plan.study)
    assert read.manner == submission.manner == plan.manner == Manner(2, ("cuda-graphs",))
    assert TrainRequest.of(plan.study, read).manner == plan.manner
    plan.memory.keep(plan.study)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UsageError, match="--ways cuda-graphs: a GPU's, and there is none for these tasks"):
        make_plan(replace(asked, ways=None))
    assert make_plan(replace(asked, ways=())).manner == Manner(2)


def test_crops_far_smaller_than_the_images_are_told(
    request_: LaunchRequest, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    name = request_.dataset[0]
    longest = max(find_dataset(name, data).manifest.image_size)
    for resolution, told in ((longest // 4, True), (longest // 4 + 1, False)):
        caplog.clear()
        make_plan(replace(request_, dataset=(name,), changes=(*request_.changes, f"resolution={resolution}")))
        assert (f"{resolution} pixels, images of {name} have up to {longest}" in caplog.text) == told


@pytest.mark.parametrize("declared", [6, 3, 0])
def test_a_finished_study_submits_nothing(
    declared: int, request_: LaunchRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor where declarations were lost, or results came from elsewhere: a result counts, whoever declared it."""
    caplog.set_level(logging.INFO)
    plan = make_plan(request_)
    study = Study.create(request_.study)
    study.declare([*plan.tasks.values()][:declared])
    for task in plan.tasks.values():
        result(task).write(study.result_path(task.id))
    assert preview(plan)["to_run"] == 0
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
    assert [make_plan(replace(request_, pack=pack)).manner.pack for pack in (None, 0, 3)] == [1, 0, 3]


@dataclass(frozen=True)
class Told(Plan):
    """A plan whose tasks end as ``ends`` says, by their net's number, instead of being trained."""

    ends: Mapping[str, str] = field(default_factory=dict)
    calls: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    """Elements and awaited jobs of each submission."""

    def backend(self, display: Display, rises: Rises = NONE_YET) -> Executor:
        return _Tells(self)


@dataclass(frozen=True)
class _Tells:
    """An executor of one submission at a time, with a job's id for each."""

    plan: Told

    def submit(self, elements: Elements, after: Sequence[str] = ()) -> list[Submission]:
        self.plan.calls.append((len(elements), tuple(after)))
        made = new_submission(self.plan.study, "local", elements, self.plan.data)
        made = made.model_copy(update={"job": str(len(self.plan.calls)), "began": "another boot/1"})
        made.write(record_path(self.plan.study, made))
        return [made]

    def run(self, submission: Submission) -> None:
        for task_id in submission.tasks:
            task = self.plan.tasks[task_id]
            if (end := self.plan.ends[task.architecture]) == "paused":
                beat = Progress(phase="paused", epoch=1, epochs=2, updated=0.0, host="elsewhere", pid=1)
                beat.write(self.plan.study.progress_path(task_id))
            elif end != "lost":
                of_task = result(task).model_copy(update={"status": end})
                of_task.write(self.plan.study.result_path(task_id))

    def describe(self, elements: Elements) -> dict[str, object]:
        return {}


def told(plan: Plan, **ends: str) -> Told:
    of_net = {f"anynetx-500/{name[1:]}": end for name, end in ends.items()}
    return Told(**{f.name: getattr(plan, f.name) for f in fields(plan)}, ends=of_net)


def test_a_run_has_failed_where_a_task_came_to_no_finding(request_: LaunchRequest) -> None:
    request = replace(request_, array="0-4", dataset=("one",), per_job=2)
    plan = told(make_plan(request), n0="done", n1="diverged", n2="paused", n3="failed", n4="lost")
    document = carry_out(plan, no_display)
    assert of(document) == summary(5, 5, 3, 2) and plan.calls == [(3, ())]
    assert document["states"] == {"done": 1, "diverged": 1, "paused": 1, "failed": 1, "lost": 1}
    assert (document["failed_here"], document["jobs"], document["beyond_limit"]) == (2, ["1"], 0)
    again = told(make_plan(replace(request, retry=("failed",))), n3="done", n4="done")
    before = next(plan.study.result_path(i) for i, t in plan.tasks.items() if t.architecture == "anynetx-500/3")
    bytes_before = before.read_bytes()
    assert carry_out(again, no_display)["states"] == {"done": 3, "diverged": 1, "paused": 1}
    (kept,) = plan.study.room("logs").glob("*.superseded.json")
    assert kept.read_bytes() == bytes_before and kept.name.startswith(before.stem)


def test_what_starts_from_others_is_submitted_behind_them(
    request_: LaunchRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    study = Study.create(request_.study)
    study.declare(make_plan(replace(request_, dataset=("one",))).tasks.values())
    study.declare(make_plan(replace(request_, dataset=("two",), init_from="one")).tasks.values())
    again = make_plan(LaunchRequest(study=request_.study, data=request_.data, executor="local"))
    plan = told(again, n0="done", n1="done", n2="done")
    document = carry_out(plan, no_display)
    assert plan.calls == [(3, ()), (3, ("1",))]
    assert document["jobs"] == ["1", "2"] and document["states"] == {"done": 6}
    assert "3 tasks wait for what they start from: jobs 1" in caplog.messages


def test_a_local_launcher_is_ended_by_its_own_record(request_: LaunchRequest) -> None:
    study = Study.create(request_.study)
    process = subprocess.Popen(["sleep", "600"])
    try:
        submission = new_submission(study, "local", [], Path("data"))
        submission = submission.model_copy(update={"pid": process.pid, "began": process_began(process.pid)})
        submission.write(record_path(study, submission))
        assert cancel(request_.study)["cancelled"] == [submission.name]
        assert process.wait(30) == -signal.SIGTERM
    finally:
        process.kill()
    assert [s.cancelled for s in submissions(study)] == [True]
    assert cancel(request_.study)["cancelled"] == []
