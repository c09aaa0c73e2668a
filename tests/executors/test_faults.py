"""Tasks are requeued, preempted, killed; nodes, controller and launcher go away: at the end every task is done once.

The errors must be those of an undisturbed run, bit for bit: a checkpoint holds all that decides the rest of the run.
"""

import os
import re
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slurm.cluster import Cluster
from tests.executors.conftest import errors, launch, start, status, training, wait_for
from toolkit.study import Study
from toolkit.study.progress import Progress

pytestmark = pytest.mark.cluster

LIMITED = 1000
"""Epochs of a task that takes longer than its two minutes."""


@dataclass
class Storm:
    """Strikes a study's running tasks, one fault at a time; a fault returns when it has been felt."""

    cluster: Cluster
    study: Path
    data: Path
    launches: list[Sequence[object]]
    """The calls that make the study; each can be given again and again."""
    late: list[Sequence[object]]
    """Calls whose first launcher is killed."""
    struck: Counter[str] = field(default_factory=Counter)

    def warned(self) -> None:
        """Slurm's warning before a time limit."""
        self.cluster.slurm("scancel", "--signal=URG", self.victim().job)

    def warned_twice(self) -> None:
        job = self.victim().job
        for _ in range(2):
            self.cluster.slurm("scancel", "--signal=URG", job)

    def requeued(self) -> None:
        """An administrator requeues the job: SIGTERM, then SIGKILL."""
        self.cluster.slurm("scontrol", "requeue", self.victim().job)

    def killed(self) -> None:
        os.kill(self.victim().pid, signal.SIGKILL)

    def preempted(self) -> None:
        """A job of a better partition takes all nodes."""
        wrapped = ["--partition=urgent", f"--nodes={len(self.cluster.nodes)}", "--output=/dev/null", "--wrap=sleep 2"]
        job = self.cluster.slurm("sbatch", "--parsable", *wrapped).stdout.strip()
        wait_for(lambda: not self.cluster.slurm("squeue", "--noheader", f"--jobs={job}").stdout, 90, "the better job")

    def node_gone(self) -> None:
        """A task's slurmd dies, and the task with it; the node comes back seconds later."""
        victim = self.victim()
        node = environment_of(victim.pid)["SLURMD_NODENAME"]
        self.cluster.stop_node(node)
        os.kill(victim.pid, signal.SIGKILL)
        time.sleep(2)
        self.cluster.start_node(node)

    def controller_restarted(self) -> None:
        self.cluster.stop_controller()
        self.cluster.start_controller()

    def launcher_killed(self) -> None:
        """A launcher dies after the first of its arrays: the cluster's MaxArraySize asks for several.

        The second array's record stands before its sbatch is called, and leaves some milliseconds to strike.
        """
        before = len(self.records())
        self.launches.append(self.late.pop())
        call = [*self.launches[-1], "--recipe", "smoke"]
        launcher = start("toolkit.launch", "--study", self.study, "--data", self.data, *call)
        wait_for(lambda: len(self.records()) > before + 1, 60, "its first array", every=0.001)
        launcher.kill()
        launcher.communicate()
        assert launcher.returncode == -signal.SIGKILL

    def results_read_only(self) -> None:
        """Nobody can write a result, not even root, until a task has tried to."""
        refused = re.compile(r"results/\w+\.json cannot be written")
        with immutable(self.study / "results"):
            wait_for(lambda: refused.search(self.logs()), 120, "a task that wants to write its result")

    def launch(self) -> None:
        for call in self.launches:
            launch(self.study, self.data, *call)

    def records(self) -> list[Path]:
        return list((self.study / "submissions").glob("[!.]*.json"))

    def logs(self) -> str:
        """All that the tasks and Slurm said."""
        return "".join(log.read_text(errors="replace") for log in (self.study / "logs").glob("*.out"))

    def victim(self) -> Progress:
        """Of a task that has learnt something; fails the test when none does in time."""
        found: list[str] = []
        wait_for(lambda: found.extend(self.in_training()) or found, 60, "a task that trains")
        progress = Study(self.study).progress(found[0])
        assert progress
        return progress

    def in_training(self) -> list[str]:
        """Tasks to strike: those that have learnt something, but for those that the time limit is to strike."""
        return [task_id for task_id in training(self.study) if task_id not in self.limited()]

    def limited(self) -> set[str]:
        """Tasks that are longer than their job's time limit."""
        return {task_id for task_id, task in Study(self.study).tasks().items() if task.recipe.epochs == LIMITED}

    def count_time_limits(self) -> None:
        """Slurm's warnings to tasks that nothing else warns."""
        warned = re.findall(r"^([0-9a-f]{16}) .*: stopped by SIGURG", self.logs(), re.MULTILINE)
        self.struck["time_limit"] = sum(task_id in self.limited() for task_id in warned)

    def strike(self, fault: Callable[[], None]) -> None:
        fault()
        self.struck[fault.__name__] += 1


def environment_of(pid: int) -> dict[str, str]:
    """Environment that a process was started with."""
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


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
        if struck := bool(waiting and storm.in_training()):
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
    assert completions(storm.study) == dict.fromkeys(errors(undisturbed), 1)
    leftover = [p.name for p in (storm.study / "results").iterdir() if p.name.startswith(".")]
    assert not leftover


def weather(storm: Storm, faults: Sequence[Callable[[], None]], undisturbed: Path, seconds: float) -> None:
    """The same launches twice: here without, there with faults; then compare and tell."""
    local = ["--executor", "local", "--jobs", 2]
    for call in (*storm.launches, *storm.late):
        launch(undisturbed, storm.data, *call[: call.index("--executor")], *local, within_s=seconds)
    tasks = len(errors(undisturbed))
    began = time.monotonic()
    storm.launch()
    ride_out(storm, faults, tasks, seconds)
    storm.count_time_limits()
    verify(storm, undisturbed, tasks)
    restarts = sum(Study(storm.study).result(task_id).provenance.restarts for task_id in errors(storm.study))
    print(f"{tasks} tasks, each done once, in {len(storm.records())} arrays; {restarts} restarts of tasks")
    print(f"{dict(storm.struck)} in {time.monotonic() - began:.0f} s")


@pytest.fixture
def stormy_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A Slurm of two nodes whose arrays are so short that every launch needs several."""
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="slurm-")))
    cluster.start(nodes=2, cpus=1, max_array_size=2, requeue_s=5)
    monkeypatch.setenv("SLURM_CONF", str(cluster.config))
    yield cluster
    cluster.stop()


def test_a_short_storm(stormy_cluster: Cluster, data: Path, tmp_path: Path) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text("cpus = 1\ntime_min = 30\ngrace_s = 10\n")
    what = ["--dataset", "tiny", "--set", "epochs=40", "--executor", "slurm", "--profile", profile]
    first, late = ["--array", "0-2", *what, "--per-job", 2], ["--array", "3-5", *what, "--per-job", 1]
    storm = Storm(stormy_cluster, tmp_path / 'it\'s "rough"', data, [first], [late])
    faults = [storm.warned_twice, storm.killed, storm.controller_restarted, storm.launcher_killed]
    weather(storm, faults, tmp_path / "undisturbed", seconds=300)


@pytest.mark.long
def test_a_long_storm_in_the_image(stormy_cluster: Cluster, data: Path, image_profile: Path, tmp_path: Path) -> None:
    """More than a hundred tasks, plain, packed and longer than their time limit, each in the image."""
    short = tmp_path / "short.toml"
    short.write_text(image_profile.read_text().replace("time_min = 30", "time_min = 2\ngrace_s = 20"))
    slurm = ["--dataset", "tiny", "--executor", "slurm", "--profile"]
    plain = ["--set", "epochs=8", *slurm, image_profile, "--per-job", 4]
    packed = ["--set", "epochs=8", *slurm, image_profile, "--pack", 4]
    limited = ["--array", "200-201", "--set", f"epochs={LIMITED}", *slurm, short]
    launches = [["--array", "0-43", *plain], limited, ["--array", "100-131", *packed]]
    storm = Storm(stormy_cluster, tmp_path / 'it\'s "rough"', data, launches, [["--array", "44-67", *plain]])
    catchable = [storm.warned, storm.warned_twice, storm.requeued, storm.preempted]
    others = [storm.killed, storm.node_gone, storm.controller_restarted, storm.launcher_killed]
    faults = [*catchable, *others, storm.results_read_only, *catchable, storm.killed, storm.node_gone]
    weather(storm, faults, tmp_path / "undisturbed", seconds=2400)
    assert storm.struck["time_limit"] >= 2
