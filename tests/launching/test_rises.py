"""What ended for want of memory or time gets more of it, so often as was allowed; anything else gets what it had."""

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.study.strategies import task
from toolkit.cluster.profile import Profile
from toolkit.errors import UsageError
from toolkit.launching.endings import how_ended
from toolkit.launching.rises import RiseRules
from toolkit.study import Study
from toolkit.study.states import TaskState
from toolkit.study.submission import Rises, new_submission, record_path

TASKS = [task(f"anynetx-500/{i}") for i in range(6)]
LAST_WORDS = (
    "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks have been OOM Killed.",
    "slurmstepd: error: *** STEP 7.0 ON n1 CANCELLED AT 2026-11-28T12:00:00 DUE TO TIME LIMIT ***",
    "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-28T12:00:00 DUE TO PREEMPTION ***",
    "error: out of memory, says the task itself",
    "slurmstepd: error: Exceeded job memory limit\n" + 4 * "slurmstepd: error: *** JOB 7 ON n1 CANCELLED ***\n",
)
"""What the log of each element ends with; the last element has no log."""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """One Slurm array of six tasks, and no accounts that could be asked."""
    monkeypatch.setenv("PATH", str(tmp_path))
    made = Study.create(tmp_path / "study")
    made.declare(TASKS)
    made.room("logs").mkdir(exist_ok=True)
    for index, words in enumerate(LAST_WORDS):
        (made.room("logs") / f"7_{index}_0_log.out").write_text(f"epoch 1\n{words}\n")
    return made


def submitted(study: Study, had: Rises) -> dict[str, TaskState]:
    """An array whose tasks had these rises; all of them got lost."""
    record = new_submission(study, "slurm", [[one.id] for one in TASKS], Path("data"))
    record = record.model_copy(update={"job": "7", "rises": had})
    record.write(record_path(study, record))
    return {one.id: TaskState("lost", submission=record.name, element=i) for i, one in enumerate(TASKS)}


def next_rises(study: Study, states: Mapping[str, TaskState], rules: RiseRules) -> list[Rises | None]:
    found = rules.next(study, states)
    return [found[one.id] for one in TASKS]


RULES = RiseRules.parse("1.5x2", "2x1", Profile(memory_gb=4, time_min=31))


def test_the_log_s_last_words_tell_how_a_job_ended_where_no_account_does(study: Study) -> None:
    states = submitted(study, Rises())
    found = how_ended(study, states, {})
    assert list(found.values()) == [{0: "OUT_OF_MEMORY", 1: "TIMEOUT"}]
    name = next(iter(found))
    told = how_ended(study, states, {name: {0: "NODE_FAIL"}})
    assert told[name] == {0: "NODE_FAIL", 1: "TIMEOUT"}
    done = {i: state._replace(state="done") for i, state in states.items()}
    assert how_ended(study, done, {}) == {}
    running = {i: state._replace(held=True) for i, state in states.items()}
    assert how_ended(study, running, {}) == {}


def test_each_end_raises_what_it_lacked(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    states = submitted(study, Rises())
    assert next_rises(study, states, RULES) == [Rises(oom=1), Rises(timeout=1), *[Rises()] * 4]
    assert caplog.messages == [
        "1 tasks after 0 rises of memory and 1 of time", "1 tasks after 1 rises of memory and 0 of time"
    ]  # fmt: skip
    alive = states | {TASKS[0].id: states[TASKS[0].id]._replace(state="preempted")}
    assert next_rises(study, alive, RULES)[:2] == [Rises(), Rises(timeout=1)]
    memory_alone = RiseRules.parse("1.5x2", None, Profile(memory_gb=4))
    assert next_rises(study, states, memory_alone)[:2] == [Rises(oom=1), Rises()]
    time_alone = RiseRules.parse(None, "2x1", Profile())
    assert next_rises(study, states, time_alone)[:2] == [Rises(), Rises(timeout=1)]


def test_no_more_rises_than_were_allowed(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    had = Rises(oom=1, timeout=1)
    assert next_rises(study, submitted(study, had), RULES) == [Rises(2, 1), None, *[had] * 4]
    assert caplog.messages[-1] == "1 tasks have had all rises that --on-oom and --on-timeout allow: left out"
    assert next_rises(study, submitted(study, Rises(oom=2)), RULES)[0] is None


def test_without_rules_nothing_rises(study: Study) -> None:
    states = submitted(study, Rises(oom=1))
    assert RiseRules.parse(None, None, Profile()).next(study, states) == {}
    with pytest.raises(UsageError, match="--on-oom multiplies memory_gb, and the profile has none"):
        RiseRules.parse("2x1", None, Profile())


def test_a_profile_is_raised_by_what_its_tasks_had() -> None:
    profile = Profile(memory_gb=4, time_min=31, cpus=3)
    assert RULES.raised(profile, Rises()) == profile
    raised = RULES.raised(profile, Rises(oom=2, timeout=1))
    assert (raised.memory_gb, raised.time_min, raised.cpus) == (9, 62, 3)
    assert RiseRules.parse(None, "1.5x1", Profile()).raised(Profile(time_min=31), Rises(timeout=1)).time_min == 47
    assert RULES.raised(Profile(time_min=10), Rises(oom=1)).memory_gb is None
