"""Tasks are requeued, preempted, killed; nodes, controller and launcher go away: at the end every task is done once.

The errors must be those of an undisturbed run, bit for bit: a checkpoint holds all that decides the rest of the run.
"""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slurm.cluster import Cluster
from tests.executors.conftest import errors, launch, start, status, training, wait_for
from toolkit.study import Study

pytestmark = pytest.mark.cluster


@dataclass
class Storm:
    """Strikes a study's running tasks, one fault at a time."""

    cluster: Cluster
    study: Path
    data: Path
    launches: Sequence[Sequence[object]]
    """The calls that make the study; each can be given again and again."""
    struck: Counter[str] = field(default_factory=Counter)

    def warned(self) -> None:
        """Slurm's warning before a time limit."""
        self.cluster.slurm("scancel", "--signal=URG", self.victim_job())

    def warned_twice(self) -> None:
        for _ in range(2):
            self.warned()

    def requeued(self) -> None:
        """An administrator requeues the job: SIGTERM, then SIGKILL."""
        self.cluster.slurm("scontrol", "requeue", self.victim_job())

    def killed(self) -> None:
        with suppress(ProcessLookupError):  # it was about to end
            os.kill(self.victim().pid, signal.SIGKILL)

    def preempted(self) -> None:
        """A job of a better partition takes the node."""
        self.cluster.slurm("sbatch", "--partition=urgent", "--output=/dev/null", "--wrap=sleep 2")

    def node_gone(self) -> None:
        """slurmd dies and its steps with it; it comes back seconds later."""
        node = self.cluster.nodes[0]
        self.cluster.stop_node(node)
        self.killed()
        time.sleep(2)
        self.cluster.start_node(node)

    def controller_restarted(self) -> None:
        self.cluster.stop_controller()
        self.cluster.start_controller()

    def launcher_killed(self) -> None:
        """A launcher dies at some point between planning and sbatch's answer."""
        call = [*self.launches[0], "--recipe", "smoke"]
        launcher = start("toolkit.launch", "--study", self.study, "--data", self.data, *call)
        records = len(self.records())
        deadline = time.monotonic() + 10
        while launcher.poll() is None and len(self.records()) == records and time.monotonic() < deadline:
            time.sleep(0.01)
        launcher.kill()
        launcher.communicate()

    def results_read_only(self) -> None:
        """For a while nobody can write a result, not even root."""
        with immutable(self.study / "results"):
            time.sleep(8)

    def launch(self) -> None:
        for call in self.launches:
            launch(self.study, self.data, *call)

    def records(self) -> list[Path]:
        return list((self.study / "submissions").glob("[!.]*.json"))

    def victim(self):
        """Progress of a task that has learnt something; fails the test when none does in time."""
        found: list[str] = []
        wait_for(lambda: found.extend(training(self.study)) or found, 60, "a task that trains")
        return Study(self.study).progress(found[0])

    def victim_job(self) -> str:
        return self.victim().job

    def strike(self, fault: Callable[[], None]) -> None:
        fault()
        self.struck[fault.__name__] += 1


@contextmanager
def immutable(folder: Path) -> Iterator[None]:
    subprocess.run(["chattr", "+i", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)


def ride_out(storm: Storm, faults: Sequence[Callable[[], None]], tasks: int, seconds: float) -> None:
    """Strike while tasks run, launch again what is left over, until every task has its result."""
    deadline = time.monotonic() + seconds
    waiting = list(faults)
    while len(Study(storm.study).finished()) < tasks:
        assert time.monotonic() < deadline, (status(storm.study)["states"], storm.struck)
        if struck := bool(waiting and training(storm.study)):
            storm.strike(waiting.pop(0))
        if struck or not storm.cluster.slurm("squeue", "--noheader").stdout:
            storm.launch()
        time.sleep(1)
    assert not waiting, f"all was done before {[fault.__name__ for fault in waiting]}"


def completions(study: Path) -> Counter[str]:
    """How often a task came to its end, by the logs."""
    ends = re.compile(r"^([0-9a-f]{16}) .*: (?:done|diverged), ", re.MULTILINE)
    logs = (study / "logs").glob("*.out")
    return Counter(task_id for log in logs for task_id in ends.findall(log.read_text(errors="replace")))


def verify(storm: Storm, undisturbed: Path, tasks: int) -> None:
    """Every task done exactly once, with the undisturbed run's errors."""
    assert len(errors(undisturbed)) == tasks
    assert errors(storm.study) == errors(undisturbed)
    assert set(completions(storm.study)) == set(errors(undisturbed))
    written = completions(storm.study)
    again = {task_id for task_id, times in written.items() if times > 1}
    assert len(again) <= storm.struck["results_read_only"], f"done more than once: {again}"
    leftover = [p.name for p in (storm.study / "results").iterdir() if p.name.startswith(".")]
    assert not leftover


def weather(storm: Storm, faults: Sequence[Callable[[], None]], undisturbed: Path, seconds: float) -> None:
    """The same launches twice: here without, there with faults; then compare."""
    local = ["--executor", "local", "--jobs", 2]
    for call in storm.launches:
        launch(undisturbed, storm.data, *call[: call.index("--executor")], *local)
    tasks = len(errors(undisturbed))
    storm.launch()
    ride_out(storm, faults, tasks, seconds)
    verify(storm, undisturbed, tasks)


def test_a_short_storm(cluster: Cluster, data: Path, tmp_path: Path) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text("cpus = 1\ntime_min = 30\ngrace_s = 10\n")
    what = ["--array", "0-5", "--dataset", "tiny", "--set", "epochs=100"]
    call = [*what, "--executor", "slurm", "--profile", profile, "--per-job", 2]
    storm = Storm(cluster, tmp_path / 'it\'s "rough"', data, [call])
    faults = [storm.warned_twice, storm.killed, storm.controller_restarted, storm.launcher_killed]
    weather(storm, faults, tmp_path / "undisturbed", seconds=300)


@pytest.mark.long
def test_a_long_storm_in_the_image(cluster: Cluster, data: Path, image_profile: Path, tmp_path: Path) -> None:
    """More than a hundred tasks, plain, packed and longer than their time limit, each in the image."""
    short = tmp_path / "short.toml"
    short.write_text(image_profile.read_text().replace("time_min = 30", "time_min = 1\ngrace_s = 20"))
    slurm = ["--executor", "slurm", "--profile"]
    launches = [
        ["--array", "0-67", "--dataset", "tiny", "--set", "epochs=6", *slurm, image_profile, "--per-job", 4],
        ["--array", "100-131", "--dataset", "tiny", "--set", "epochs=6", "--pack", 4, *slurm, image_profile],
        ["--array", "200-201", "--dataset", "tiny", "--set", "epochs=200", *slurm, short],
    ]
    storm = Storm(cluster, tmp_path / 'it\'s "rough"', data, launches)
    catchable = [storm.warned, storm.warned_twice, storm.requeued, storm.preempted]
    faults = [*catchable, storm.killed, storm.node_gone, storm.controller_restarted, storm.launcher_killed]
    weather(storm, [*faults, storm.results_read_only, *catchable, storm.killed], tmp_path / "undisturbed", seconds=1500)
    results = [Study(storm.study).result(task_id) for task_id in errors(storm.study)]
    print(f"{len(results)} tasks done once; faults {dict(storm.struck)}")
    print(f"restarts {sum(result.provenance.restarts for result in results)}")
