"""What a study keeps beside its tasks is found by what a person types, and a doubt about it is said in one line."""

import os
import socket
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.study.strategies import HASH, manifest, result, task
from toolkit.errors import ToolkitError, UsageError
from toolkit.study import Dataset, Progress, Recipe, Study, Task, load_recipe
from toolkit.study.logs import task_log
from toolkit.study.outcomes import read_outcome
from toolkit.study.ranges import MOST, format_names, parse_ranges
from toolkit.study.scan import scan
from toolkit.study.states import TaskState, task_states
from toolkit.study.submission import launcher_lives, new_submission, process_began, record_path, submissions


def on(dataset: str, net: int = 0, seed: int = 0) -> Task:
    """A task on a dataset of its own images."""
    architecture = f"anynetx-500/{net}"
    return Task(architecture=architecture, dataset=dataset, dataset_hash=dataset * 64, recipe=Recipe(), seed=seed)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study.create(tmp_path / "kept")
    made.declare([on(dataset, net, seed) for net in (0, 1) for dataset in "ab" for seed in (0, 1)])
    return made


@given(st.integers(0, 9_999), st.integers(0, 50))
def test_a_range_holds_both_of_its_ends(first: int, more: int) -> None:
    assert parse_ranges(f"{first}-{first + more}", "--array") == list(range(first, first + more + 1))


def test_a_text_may_not_name_more_than_a_machine_can_hold() -> None:
    assert len(parse_ranges(f"1-{MOST}", "--array")) == MOST
    with pytest.raises(UsageError, match=r"^--array '0-1000000': more than 1,000,000 indices by '0-1000000'$"):
        parse_ranges(f"0-{MOST}", "--array")


def test_numbers_are_told_as_ranges_and_names_as_they_are() -> None:
    assert format_names(["3", "10", "2"]) == "2-3,10"
    assert format_names(["3", "resnet50", "resnet50"]) == "3,resnet50"


def test_a_task_is_found_by_its_net_where_dataset_and_seed_leave_one(study: Study) -> None:
    assert study.find("anynetx-500/1", "b", 1) == on("b", 1, 1).id
    assert study.find(on("a").id[:8], "a") == on("a").id
    with pytest.raises(UsageError, match=r"fits 2 tasks: give --dataset \(a, b\) and --seed \(1\)"):
        study.find("anynetx-500/1", seed=1)
    with pytest.raises(UsageError, match=r"is no task of study .*kept --ids lists"):
        study.find("anynetx-500/1", "c")


def test_a_source_once_kept_stays_as_it_was(study: Study) -> None:
    study.keep({"mine@0.py": "first"})
    study.keep({"mine@0.py": "second", "more@1.json": "[]"})
    assert study.texts() == {"mine@0.py": "first", "more@1.json": "[]"}
    (study.room("nets") / "mine@0.py").chmod(0o666)
    assert study.texts() == {"more@1.json": "[]"}


def test_a_value_of_a_change_may_hold_an_equals_sign() -> None:
    with pytest.raises(UsageError, match=r"unknown field of recipe quick 'a'"):
        load_recipe("quick", changes=["a=b=c"])
    assert load_recipe("quick", changes=[" epochs = 7 "]).epochs == 7
    assert load_recipe("quick") == load_recipe("quick", "no-table-has-this-name")


def test_an_outcome_names_its_host(study: Study) -> None:
    one = result(task())
    path = study.result_path(one.id)
    path.write_bytes(orjson.dumps(orjson.loads(one.model_dump_json()) | {"provenance": {"host": "node7"}}))
    assert read_outcome(path)[:3] == ("done", "", "node7")
    other = path.with_name(f"{'0' * 16}.json")
    path.rename(other)
    assert read_outcome(other)[:3] == ("damaged", f"{other.name} is no result of this task", "")


def test_a_log_without_the_tasks_lines_shows_its_last_thirty(study: Study) -> None:
    one, other = (on("a", seed=seed).id for seed in (0, 1))
    submission = new_submission(study, "local", [[one, other]], Path("data"))
    submission.write(record_path(study, submission))
    log = study.room("logs") / f"{submission.name}.worker0.log"
    log.write_text("\n".join([f"{other} begins", *(f"line {i}" for i in range(40))]))
    assert task_log(study, one).splitlines()[1:] == [f"line {i}" for i in range(10, 40)]
    assert task_log(study, other).splitlines() == log.read_text().splitlines()


def test_a_copied_record_is_named_with_what_to_do(study: Study) -> None:
    submission = new_submission(study, "local", [[on("a").id]], Path("data"))
    submission.write(record_path(study, submission).with_name("copy.json"))
    with pytest.raises(ToolkitError, match=rf"copy.json is the record of {submission.name}: .*delete it"):
        submissions(study)


def test_a_pid_that_another_process_has_now_is_not_the_launcher(study: Study) -> None:
    submission = new_submission(study, "local", [[on("a").id]], Path("data"))
    assert (submission.host, submission.pid) == (socket.gethostname(), os.getpid())
    assert submission.began == process_began(os.getpid())
    assert launcher_lives(study, submission)
    assert not launcher_lives(study, submission.model_copy(update={"began": "another boot/1"}))
    assert launcher_lives(study, submission.model_copy(update={"began": None}))


def test_a_task_refuses_another_dataset_of_the_same_name(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path, manifest("toy", b"xx", b"x"))
    task().check_dataset(dataset)
    changed = task().model_copy(update={"dataset_hash": "cd" * 32})
    with pytest.raises(UsageError, match=rf"other images or labels than task .*hash {HASH[:12]}, not {'cd' * 6}\)"):
        changed.check_dataset(dataset)


def test_a_problem_is_said_without_pydantics_words() -> None:
    with pytest.raises(UsageError, match=r"^recipe quick: warmup_epochs 9.0 leaves nothing of 9 epochs$"):
        load_recipe("quick", changes=["epochs=9", "warmup_epochs=9"])
    with pytest.raises(UsageError, match=r"^recipe quick: epochs: Input should be greater than or equal to 1"):
        load_recipe("quick", changes=["epochs=0"])


@pytest.mark.parametrize(
    ("phase", "cancelled", "state", "reason"),
    [
        ("preempted", False, "preempted", "saved in epoch 3 of 4"),
        ("paused", False, "paused", "after epoch 2 of 4"),
        ("paused", True, "paused", "after epoch 2 of 4"),
        (None, True, "waiting", "cancelled"),
        (None, False, "lost", "left the queue without a heartbeat"),
        ("training", False, "lost", "no heartbeat from process 1 on elsewhere for 100 s"),
    ],
)
def test_a_state_says_what_is_known(study: Study, phase: str | None, cancelled: bool, state: str, reason: str) -> None:
    one = on("a")
    submission = new_submission(study, "slurm", [[on("b").id], [one.id]], Path("data"))
    submission = submission.model_copy(update={"job": "7", "cancelled": cancelled})
    submission.write(record_path(study, submission))
    if phase:
        beat = Progress(phase=phase, epoch=2, epochs=4, updated=0.0, host="elsewhere", pid=1)
        beat.write(study.progress_path(one.id))
        then = study.clock() - 100
        os.utime(study.progress_path(one.id), (then, then))
    found = task_states(study, {}, [one.id])[one.id]
    assert (found.state, found.held, found.host) == (state, False, "elsewhere" if phase else "")
    assert found.reason == reason or (state == "lost" and found.reason.replace("101 s", "100 s") == reason)
    assert (found.submission, found.element) == (submission.name, 1)


def test_a_finished_task_keeps_its_place_and_nobody_holds_it(study: Study) -> None:
    one = on("a")
    submission = new_submission(study, "local", [[on("b").id], [one.id]], Path("data"))
    submission.write(record_path(study, submission))
    given_host = result(one).provenance.model_copy(update={"host": "node7"})
    result(one).model_copy(update={"provenance": given_host}).write(study.result_path(one.id))
    found = task_states(study, {})[one.id]
    assert found[:7] == ("done", "", None, submission.name, 1, False, "node7")
    submission.model_copy(update={"cancelled": True}).write(record_path(study, submission))
    record_path(study, submission).unlink()
    assert task_states(study, {})[one.id][:7] == TaskState("done", host="node7")[:7]


def test_a_row_has_the_values_of_its_document(study: Study) -> None:
    one = result(on("b", 1, 1))
    one.write(study.result_path(one.id))
    (row,) = scan(study).frame.to_dicts()
    assert (row["id"], row["architecture"], row["dataset"], row["seed"]) == (one.id, "anynetx-500/1", "b", 1)
    assert (row["error"], row["wrong"], row["images"], row["status"]) == (0.3, 3, 10, "done")
    assert (row["classes"], row["total_s"]) == (2, 1.0)
    absent = ("flops", "params", "activations", "resolution", "images_per_s")
    assert [row[name] for name in absent] == [None] * 5
