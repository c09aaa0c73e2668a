"""What a lab needs of a launcher: answers to a lack of memory or time, use of what was asked, a notice, a budget."""

import http.server
import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.cluster import Cluster, missing_parts
from tests.conftest import real_part
from tests.executors.conftest import errors, launch, status, verb, wait_for
from tests.executors.test_queue import as_nobody
from tests.study.strategies import result, task
from toolkit.cluster.profile import Profile
from toolkit.errors import UsageError
from toolkit.launching.priorities import Budget, by_need
from toolkit.launching.rises import Rise
from toolkit.study import Study
from toolkit.study.declared import Label
from toolkit.study.states import TaskState
from toolkit.study.submission import submissions
from toolkit.training import meter


@pytest.fixture(scope="module")
def running_lab() -> Iterator[Cluster]:
    """A Slurm of one node that ends what uses more memory than it asked for and has lost its GPU; without accounts."""
    if missing := missing_parts():
        real_part(f"Slurm ({', '.join(missing)})")
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="slurm-")))
    cluster.start(nodes=1, cpus=2, requeue_s=5, memory_limits=True, missing_gpu=True)
    yield cluster
    cluster.stop()


@pytest.fixture
def lab(running_lab: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("SLURM_CONF", str(running_lab.config))
    return running_lab


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A web hook on the loopback interface, and what it was sent."""
    sent: list[dict[str, object]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", sent
    server.shutdown()
    server.server_close()


@pytest.mark.cluster
def test_a_task_without_memory_gets_more_and_the_end_is_told(
    lab: Cluster, data: Path, tmp_path: Path, hook: tuple[str, list[dict[str, object]]]
) -> None:
    study, profile, told = tmp_path / "study", tmp_path / "p.toml", tmp_path / "told"
    address, sent = hook
    notify = f'[notify]\nmail = "lab@example.org"\ncommand = "cat > {told}"\nwebhook = "{address}"\n'
    profile.write_text(f"cpus = 1\nmemory_gb = 0.25\ntime_min = 30\n{notify}")
    call = ["--array", "3", "--dataset", "tiny", "--executor", "slurm", "--profile", profile]
    first = launch(study, data, *call, "--on-oom", "5x2")
    assert first["follows"], first
    wait_for(lambda: sent, 180, f"the notice {list(study.glob('logs/*'))}", every=0.5)
    records = [s for s in submissions(Study(study)) if s.elements]
    assert [(s.memory_gb, s.rises.oom) for s in records] == [(0.25, 0), (1.25, 1)]
    assert set(errors(study)) == set(records[0].tasks)
    assert sent == [{"text": f"study study: {_words(study)}", "study": str(study), "states": status(study)["states"]}]
    assert told.read_text() == f"{sent[0]['text']}\n"
    mails = lab.state / "mails"
    wait_for(lambda: mails.exists() and "lab@example.org" in mails.read_text(), 60, "a mail")
    assert "Name=study-study-1-" in mails.read_text()
    row = orjson.loads(verb("toolkit.status", study, "--efficiency", "--json").stdout)["efficiency"][0]
    assert row["memory_gb"] == 1.25 and 0.1 < row["memory_most_gb"] < 1.25
    assert row["cpus"] == 1 and 0 < row["cpu_use"] <= 1.05
    assert "memory_gb = 1" in verb("toolkit.status", study, "--efficiency").stdout


def _words(study: Path) -> str:
    return ", ".join(f"{count} {state}" for state, count in status(study)["states"].items())


@pytest.mark.cluster
def test_a_time_limit_rises_no_further_than_allowed(lab: Cluster, data: Path, tmp_path: Path) -> None:
    study, profile = tmp_path / "study", tmp_path / "p.toml"
    profile.write_text("cpus = 1\ntime_min = 3\ngrace_s = 10\nsetup = ['sleep 600']\n")
    call = ["--array", "3", "--dataset", "tiny", "--executor", "slurm", "--profile", profile]
    (job,) = launch(study, data, *call)["jobs"]  # nobody follows: --on-timeout comes later
    wait_for(lambda: "RUNNING" in lab.slurm("squeue", "--noheader", "--format=%T").stdout, 60, "its start")
    lab.slurm("scontrol", "update", f"jobid={job}_0", "endtime=now")
    wait_for(lambda: status(study)["states"] == {"lost": 1}, 120, "the time limit", every=1)
    assert "Slurm: TIMEOUT" in status(study)["trouble"][0]["reason"]
    raised = launch(study, data, "--executor", "slurm", "--on-timeout", "2x1")
    assert raised["to_run"] == 1
    assert "1 tasks after 0 rises of memory and 1 of time" in raised["stderr"]
    last = max(submissions(Study(study)), key=lambda s: (bool(s.elements), s.created))
    assert (last.time_min, last.rises.timeout) == (6, 1)
    lab.slurm("scancel", *raised["jobs"])
    logs = study / "logs" / f"{last.job}_0_0_log.out"
    wait_for(lambda: status(study)["states"] == {"lost": 1}, 60, "its end", every=1)
    logs.write_text(f"slurmstepd-n1: error: *** JOB {last.job} ON n1 CANCELLED AT 2026-01-01 DUE TO TIME LIMIT ***\n")
    done = launch(study, data, "--executor", "slurm")
    assert done["to_run"] == 0 and "1 tasks have had all rises" in done["stderr"]
    verb("toolkit.launch", "--study", study, "--cancel")


@pytest.mark.cluster
def test_a_hidden_partition_hides_no_job_from_the_next_launch(lab: Cluster, data: Path, tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="hidden-"))
    folder.chmod(0o777)
    lab.slurm("scontrol", "create", "partitionname=hidden", "nodes=ALL", "hidden=yes", "maxtime=60")
    profile, study = folder / "p.toml", folder / "study"
    profile.write_text('cpus = 1\ntime_min = 30\npartition = "hidden"\n[sbatch]\nhold = true\n')
    what = ["--array", "3", "--dataset", "tiny", "--recipe", "smoke", "--executor", "slurm", "--profile", profile]
    call = ["toolkit.launch", *what, "--study", study, "--data", data, "--json"]
    first = as_nobody(*call)
    assert first.returncode == 0, first.stderr
    assert orjson.loads(first.stdout)["states"] == {"queued": 1}
    again = as_nobody(*call)
    assert orjson.loads(again.stdout)["to_run"] == 0, again.stderr
    assert as_nobody("toolkit.launch", "--study", study, "--cancel").returncode == 0


@pytest.mark.cluster
def test_a_contained_shell_hides_nothing_from_the_image(
    cluster: Cluster, data: Path, image_profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("APPTAINER_CONTAINALL", "SINGULARITY_CONTAIN"):
        monkeypatch.setenv(name, "1")
    study = tmp_path / "study"
    launch(study, data, "--array", "3", "--dataset", "tiny", "--executor", "slurm", "--profile", image_profile)
    wait_for(lambda: not cluster.slurm("squeue", "--noheader").stdout, 120, "the end of the array")
    assert len(errors(study)) == 1, status(study)


@pytest.mark.cluster
def test_a_job_that_does_not_see_its_gpu_ends_at_once_and_says_where(lab: Cluster, data: Path, tmp_path: Path) -> None:
    study, profile = tmp_path / "study", tmp_path / "p.toml"
    profile.write_text("cpus = 1\n[sbatch]\ngpus-per-task = 1\n")
    call = ["--array", "0", "--dataset", "tiny", "--executor", "slurm", "--profile", profile]
    launch(study, data, *call)
    wait_for(lambda: not lab.slurm("squeue", "--noheader").stdout, 120, "its end", every=0.5)
    assert status(study)["states"] == {"lost": 1} and status(study)["trouble_by_node"] == {"n1": 1}
    (log,) = (study / "logs").glob("*_log.out")
    (said,) = [line for line in log.read_text().splitlines() if line.startswith("error: ")]
    assert f"no GPU is visible on node {socket.gethostname()} (CUDA_VISIBLE_DEVICES '0')" in said
    assert "no NVIDIA driver is loaded" in said or "driver " in said


@pytest.mark.cluster
@pytest.mark.parametrize("asked", ["[sbatch]\ngpus = 1", "[sbatch]\ngpus-per-task = 1", 'gres = "shard:1"'])
def test_the_image_sees_the_gpus_by_whichever_option_they_are_asked_for(
    asked: str, lab: Cluster, data: Path, image_profile: Path, tmp_path: Path
) -> None:
    profile = tmp_path / "p.toml"
    profile.write_text(f"{image_profile.read_text()}\n{asked}\n")
    call = ["--array", "0", "--dataset", "tiny", "--recipe", "smoke", "--executor", "slurm", "--profile", profile]
    done = verb("toolkit.launch", *call, "--study", tmp_path / "study", "--data", data, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert " exec --nv " in next(line for line in done.stdout.splitlines() if line.startswith("srun"))


LABELS = {"a": Label("n/0", "first", 0, ""), "b": Label("n/0", "other", 0, ""), "c": Label("n/1", "other", 0, "")}


def test_the_reference_comes_first_then_what_is_least_complete() -> None:
    columns = {"1": "third", "2": "other", "3": "first"}
    assert by_need(columns, LABELS, {}) == ["3", "2", "1"]
    assert by_need(columns, LABELS, {"b": TaskState("done"), "c": TaskState("done")}) == ["3", "1", "2"]
    assert by_need({**columns, "4": "imagenet"}, LABELS, {})[0] == "4"


def test_a_budget_stops_at_its_hours_and_tries_one_element_first() -> None:
    budget, columns = Budget(10, Profile(gpus=2, time_min=600), 2), {str(i): "d" for i in range(9)}
    assert budget.allowed(columns, columns, {}) == ["0", "1"]  # a task may take ten hours
    ended = {"x": TaskState("done", gpu_s=3600), "y": TaskState("diverged", gpu_s=7200)}
    known = {**columns, "x": "d", "y": "d"}
    assert budget.allowed(columns, known, ended) == ["0", "1", "2", "3"]  # 7 hours left, at 1.5
    flying = ended | {"8": TaskState("queued", held=True)}
    assert budget.allowed(columns, known, flying) == ["0", "1", "2"]
    assert replace_hours(budget, 2).allowed(columns, known, ended) == []


@given(
    st.lists(st.sampled_from("abc"), max_size=12),
    st.lists(st.floats(0, 9e4), max_size=5),
    st.floats(0.1, 100),
    st.floats(0, 100),
)
def test_more_hours_never_leave_out_what_fewer_allowed(
    wanted: list[str], ended: list[float], hours: float, more: float
) -> None:
    columns = {str(i): column for i, column in enumerate(wanted)}
    states = {f"e{i}": TaskState("done", gpu_s=gpu_s) for i, gpu_s in enumerate(ended)}
    known = {**columns, **dict.fromkeys(states, "a")}
    budget = Budget(hours, Profile(gpus=1), 1)
    few, many = (replace_hours(budget, h).allowed(columns, known, states) for h in (hours, hours + more))
    assert few == list(columns)[: len(few)] and many[: len(few)] == few
    order = by_need(columns, LABELS | dict.fromkeys(states, LABELS["a"]), states)
    assert sorted(order) == sorted(columns)
    assert all([i for i in order if columns[i] == c] == [i for i in columns if columns[i] == c] for c in "abc")


def replace_hours(budget: Budget, hours: float) -> Budget:
    return budget._replace(hours=hours)


@pytest.mark.parametrize("text", ["2", "x2", "1x2", "11x1", "2x0", "1.5x-1"])
def test_a_rise_that_rises_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"1\.5x2"):
        Rise.parse(text, "--on-oom")


def test_wrong_calls_are_told(data: Path, tmp_path: Path) -> None:
    call = ["--array", "0", "--dataset", "tiny", "--data", data, "--study", tmp_path / "s", "--executor", "local"]
    for option, says in ((["--on-oom", "2x1"], "memory_gb"), (["--max-gpu-hours", "3"], "get no GPU")):
        done = verb("toolkit.launch", *call, *option)
        assert done.returncode == 2 and says in done.stderr.splitlines()[-1]


def test_gpus_are_counted_by_whichever_option_names_them() -> None:
    counts = [Profile(gpus=2), Profile(gres="gpu:a100:4"), Profile(gres="gpu"), Profile(sbatch={"gpus": "h100:3"})]
    assert [p.gpu_count for p in [*counts, Profile(gres="lscratch:40"), Profile()]] == [2, 4, 1, 3, 0, 0]


def test_a_look_at_gpus_is_a_mean_a_most_and_a_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '50, 2048, 100.5'\necho '100, 1024, 99.5'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert meter.gpu_sample() == (0.75, 2.0, 200.0)
    program.write_text("#!/bin/sh\necho '[N/A], 2048, 100'\n")  # a slice of a card
    assert meter.gpu_sample() is None


def test_time_left_is_the_means_of_what_is_ahead_over_what_runs(tmp_path: Path, data: Path) -> None:
    from toolkit.launching.snapshot import StudySnapshot
    from toolkit.study import Progress

    beat = Progress(phase="training", epoch=1, epochs=2, updated=0, host="h", pid=1, seconds_left=10)
    states = {
        "a": TaskState("done", seconds=100),
        "b": TaskState("running", progress=beat),
        "c": TaskState("waiting"),
    }
    look = StudySnapshot(Study(tmp_path), LABELS, states)
    assert look.seconds_left() == 110
    assert replace(look, states={**states, "b": TaskState("queued")}).seconds_left() is None
    assert result(task()).usage is None  # an earlier version's
