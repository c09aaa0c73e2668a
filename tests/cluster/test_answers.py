"""What is made of the answers of Slurm's commands: jobs in the queue, jobs that ended, settings, refusals."""

import os
import pwd
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from toolkit.cluster import accounting, queue
from toolkit.cluster.queue import NoAnswer, SlurmError
from toolkit.errors import ToolkitError
from toolkit.study import Study
from toolkit.study.submission import Submission, new_submission, record_path

StandsIn = Callable[[str, str], Path]
ME = pwd.getpwuid(os.getuid()).pw_name


def line(job: int, index: str, state: str, name: str, **more: str) -> str:
    """squeue's line of an element, as it is asked for."""
    of = {"reason": "None", "owner": str(os.getuid()), "end": "N/A", "command": "/private/other.sbatch"} | more
    return f"{job}|{index}|{state}|{of['reason']}|{of['owner']}|{of['end']}|{name}|{of['command']}"


@pytest.fixture
def answers(stands_in: StandsIn) -> Callable[..., Path]:
    """A function that has squeue answer with lines."""

    def make(*lines: str) -> Path:
        calls = stands_in("squeue", 'cat "$0.answer"')
        calls.with_name("squeue.answer").write_text("".join(f"{each}\n" for each in lines))
        return calls

    return make


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.create(tmp_path / "study")


def submitted(study: Study, job: str | None, executor: str = "slurm", **more: object) -> Submission:
    submission = new_submission(study, executor, [["a" * 16]], Path("/data")).model_copy(update={"job": job, **more})
    submission.write(record_path(study, submission))
    return submission


@pytest.mark.parametrize(
    ("script", "kind", "says"),
    [
        ("echo 'Invalid  user' >&2; exit 1", SlurmError, r"^squeue --x failed \(Invalid user\); if sinfo finds no"),
        ("echo 'told here'; exit 1", SlurmError, r"failed \(told here\)"),
        ("exit 1", SlurmError, r"failed \(no word\)"),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", NoAnswer, "set SLURM_CONF, or run here with"),
        ("exec sleep 5", NoAnswer, r"squeue gave no answer in 0\.2 s: is the controller up \(scontrol ping\)\?"),
    ],
)
def test_a_command_that_fails_is_told_with_slurms_words(
    stands_in: StandsIn, monkeypatch: pytest.MonkeyPatch, script: str, kind: type[SlurmError], says: str
) -> None:
    stands_in("squeue", script)
    monkeypatch.setattr(queue, "TIMEOUT_S", 0.2 if "sleep" in script else 60)
    with pytest.raises(kind, match=says) as caught:
        queue.slurm("squeue", "--x", "--y")
    assert type(caught.value) is kind


def test_a_command_that_is_not_here_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmError, match=r"squeue does not start .* is this a login node of the cluster\?"):
        queue.slurm("squeue")
    assert not queue.slurm_here()


def test_a_shells_own_variables_do_not_reach_slurm(stands_in: StandsIn, monkeypatch: pytest.MonkeyPatch) -> None:
    left = {"SBATCH_TIMELIMIT": "1", "SQUEUE_FORMAT": "x", "APPTAINER_CONTAIN": "1", "ROCR_VISIBLE_DEVICES": "0"}
    kept = {"SLURM_CONF": "/etc/s", "SBATCH_ACCOUNT": "a", "ZE_AFFINITY_MASK": "", "OTHER": "1"}
    for name, value in (left | kept).items():
        monkeypatch.setenv(name, value)
    stands_in("scontrol", "env; cat")
    said = queue.slurm("scontrol", stdin="heard=1").splitlines()
    assert {f"{name}={value}" for name, value in kept.items()} | {"heard=1"} <= set(said)
    assert not [text for text in said if text.partition("=")[0] in left] and set(left) <= set(queue.left_out())


def test_settings_are_read_by_their_keys(stands_in: StandsIn) -> None:
    calls = stands_in("scontrol", "printf 'Configuration data\\nMaxArraySize = 7\\nSlurmctldParameters     = a=b,c\\n'")
    assert queue.config("SlurmctldParameters", "MaxArraySize", "Nothing") == {
        "SlurmctldParameters": "a=b,c",
        "MaxArraySize": "7",
    }
    assert calls.read_text() == "show config\n"


def test_ones_own_jobs_are_told_by_name_and_index(answers: Callable[..., Path]) -> None:
    late = datetime.now() - timedelta(hours=1)
    calls = answers(
        line(7, "3", "RUNNING", "a"),
        line(7, "4", "PENDING", "a", reason="Priority"),
        line(7, "5", "PENDING", "a", reason="ReqNodeNotAvail, UnavailableNodes:n1"),
        line(8, "N/A", "PENDING", "b|c", reason="JobHeldUser"),
        line(9, "0", "FAILED", "d"),
        line(9, "1", "COMPLETED", "d", end=datetime.now().isoformat(timespec="seconds")),
        line(9, "2", "COMPLETED", "d", end=late.isoformat(timespec="seconds")),
        line(9, "3", "COMPLETED", "d", end="Unknown"),
        "slurm: a banner",
    )
    assert queue.read_queue() == {
        "a": {3: "RUNNING", 4: "PENDING", 5: "PENDING (ReqNodeNotAvail)"},
        "b": {0: "PENDING (JobHeldUser)"},
        "d": {1: "COMPLETED", 3: "COMPLETED"},
    }
    assert calls.read_text() == f"--noheader --array --all --user={ME} --format=%F|%K|%T|%r|%U|%e|%j|%o\n"


def test_a_submission_is_known_by_its_id_and_by_name_where_no_id_was_recorded(
    study: Study, answers: Callable[..., Path]
) -> None:
    one, lost = submitted(study, "7"), submitted(study, None)
    calls = answers(
        line(7, "0", "RUNNING", one.name),
        line(7, "1", "RUNNING", "renamed", command=f"/private/{one.name}.sbatch"),
        line(7, "2", "RUNNING", "anothers"),  # whose job has the id by now
        line(8, "0", "PENDING", lost.name),
        line(9, "1", "PENDING", "renamed", command=f"/private/{lost.name}.sbatch"),
        line(10, "2", "PENDING", "nobodys"),
    )
    ours = {one.name: {0: "RUNNING", 1: "RUNNING"}, lost.name: {0: "PENDING", 1: "PENDING"}}
    assert queue.find_jobs([one, lost], lately=True) == ours == queue.queue_of(study)
    asked = [words.split()[3:-1] for words in calls.read_text().splitlines()]
    assert asked[:3] == [[which, "--states=all"] for which in ("--jobs=7", f"--name={lost.name}", f"--user={ME}")]
    assert asked[3:] == [["--jobs=7"], [f"--name={lost.name}"], [f"--user={ME}"]]
    assert queue.job_ids([one, lost]) == ["7", "8", "9"] and queue.job_ids([one]) == ["7"]


def test_only_what_slurm_may_have_is_asked_for(
    study: Study, answers: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted(study, "7", executor="local")
    submitted(study, "8", cancelled=True)
    calls = answers(line(8, "0", "RUNNING", "x"))
    assert queue.queue_of(study) == {} and not calls.exists()
    submitted(study, "9")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert queue.queue_of(study) is None


def test_ids_that_slurm_has_forgotten_are_no_jobs(study: Study, stands_in: StandsIn) -> None:
    one = submitted(study, "7")
    stands_in("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert queue.find_jobs([one]) == {} and queue.find_jobs([]) == {}
    for words in ("Invalid job id specified: connection refused", "Access denied"):
        stands_in("squeue", f"echo '{words}' >&2; exit 1")
        with pytest.raises(SlurmError, match=words):
            queue.find_jobs([one])


def test_who_wrote_the_record_may_cancel_its_jobs_and_no_other(
    study: Study, answers: Callable[..., Path], stands_in: StandsIn
) -> None:
    one, calls = submitted(study, "7"), stands_in("scancel", "")
    answers()
    queue.scancel(study, one)
    assert not calls.exists()
    answers(line(7, "0", "RUNNING", one.name), line(7, "1", "PENDING", one.name))
    queue.scancel(study, one)
    assert calls.read_text() == "7\n"
    answers(line(7, "0", "RUNNING", one.name), line(7, "1", "PENDING", one.name, owner="12345"))
    with pytest.raises(ToolkitError, match=r"was not written by the owner of job 7: scancel it by hand if it is yours"):
        queue.scancel(study, one)
    assert calls.read_text() == "7\n"


def test_nodes_are_left_out_of_what_waits(study: Study, answers: Callable[..., Path], stands_in: StandsIn) -> None:
    one = submitted(study, "7")
    answers(line(7, "0", "PENDING", one.name))
    calls = stands_in("scontrol", "")
    queue.leave_out([one], "n1,n2")
    queue.leave_out([one], None)
    assert calls.read_text() == "update JobId=7 ExcNodeList=n1,n2\nupdate JobId=7 ExcNodeList=\n"
    stands_in("scontrol", "echo 'Job/step already finished' >&2; exit 1")
    queue.leave_out([one], "n1")
    stands_in("scontrol", "echo 'Access denied' >&2; exit 1")
    with pytest.raises(SlurmError, match="Access denied"):
        queue.leave_out([one], "n1")


def test_the_accounts_are_asked_for_what_was_submitted_from_a_minute_before(study: Study, stands_in: StandsIn) -> None:
    one, two = submitted(study, "7", created=1e9), submitted(study, "8", created=2e9)
    calls = stands_in("sacct", f"echo '{one.name}|7_0|TIMEOUT|0:0'; echo '{two.name}|8|RUNNING|0:0'")
    assert accounting.endings([two, one]) == {one.name: {0: "TIMEOUT"}}
    begin = datetime.fromtimestamp(1e9 - 60).isoformat()
    asked = f"--noheader --parsable2 --allocations --starttime={begin} --name={two.name},{one.name}"
    assert calls.read_text() == f"{asked} --format=JobName,JobID,State,ExitCode\n"
    calls.unlink()
    assert accounting.endings([]) == {} and not calls.exists()
    stands_in("sacct", "echo 'a|7|TIMEOUT|0:0'; exit 1")
    assert accounting.endings([one]) == {}


def test_the_least_limit_of_ones_accounts_counts(
    stands_in: StandsIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for said, limit in (("100\n\n40", 40), ("", None), ("none", None)):
        calls = stands_in("sacctmgr", f"printf '{said}\\n'")
        assert accounting.submit_limit() == limit
    asked = f"--noheader --parsable2 show associations user={ME} format=MaxSubmitJobs"
    assert calls.read_text().splitlines() == [asked] * 3
    monkeypatch.setenv("PATH", str(tmp_path))
    assert accounting.submit_limit() is None
