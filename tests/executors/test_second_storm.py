"""A second storm, of other faults than the first: of nodes, controller, clocks, disks and files, not of processes.

Beside the faults, `status` is compared with squeue again and again: no word of it may be false.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from slurm.cluster import Cluster
from tests.conftest import real_part
from tests.executors.conftest import errors, launch, start, verb, wait_for
from tests.executors.test_faults import Storm, completions, environment_of
from tests.executors.test_queue import as_nobody
from toolkit.study import Study
from toolkit.study.submission import process_lives, submissions

pytestmark = [pytest.mark.cluster, pytest.mark.long]

MOMENTS = 50
LONG = 150
"""Epochs of the tasks that are struck."""
SILENCE_S = 50
"""Longer than a heartbeat may be away."""


@dataclass
class SecondStorm(Storm):
    """Faults of nodes, controller, clocks, disks and files; between them `look` compares status and queue."""

    looks: int = 0
    false_words: list[str] = field(default_factory=list)
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Inode and time of change of every result that was ever seen: it must stay."""
    replaced: set[str] = field(default_factory=set)

    def suspended(self) -> None:
        """Stopped for longer than a heartbeat may be away, while a launcher comes by; then resumed."""
        job = self.victim().job
        self.cluster.slurm("scontrol", "suspend", job)
        self.look_for(SILENCE_S)
        self.launch()
        self.cluster.slurm("scontrol", "resume", job)

    def drained(self) -> None:
        """A node takes no new work for a while."""
        node = environment_of(self.victim().pid)["SLURMD_NODENAME"]
        self.cluster.slurm("scontrol", "update", f"nodename={node}", "state=drain", "reason=storm")
        self.look_for(15)
        self.cluster.slurm("scontrol", "update", f"nodename={node}", "state=resume")

    def node_down(self) -> None:
        """An administrator sets a node down: Slurm ends what runs there, and queues it again."""
        node = environment_of(self.victim().pid)["SLURMD_NODENAME"]
        self.cluster.slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=storm")
        self.look_for(10)
        self.cluster.slurm("scontrol", "update", f"nodename={node}", "state=resume")

    def clock_off(self) -> None:
        """A task dies whose heartbeat seems to be of the future, in the file's stamp and in its words."""
        victim = self.victim()
        os.kill(victim.pid, signal.SIGKILL)
        wait_for(lambda: not process_lives(victim.pid), 30, "the end of the task")
        ahead = victim.model_copy(update={"updated": victim.updated + 86400})
        (path,) = (p for p in self.heartbeats() if orjson.loads(p.read_bytes())["pid"] == victim.pid)
        ahead.write(path)
        os.utime(path, (time.time() + 600, time.time() + 600))
        self.look()

    def controller_gone_for_a_minute(self) -> None:
        """A launcher finds no controller; the next one submits what the first could not, once."""
        self.cluster.stop_controller()
        self.launches.append(self.late.pop())
        launcher = start("toolkit.launch", "--study", self.study, "--data", self.data, *self.call(self.launches[-1]))
        time.sleep(60)
        self.cluster.start_controller()
        _, said = launcher.communicate(timeout=240)
        assert "Traceback" not in said
        assert launcher.returncode in (0, 1), said

    def two_launchers_of_two_users(self) -> None:
        """At the same moment; the other user comes second, for the jobs of nobody could not read this Python."""
        before = len(self.records())
        self.launches.append(self.late.pop())
        what = ["--study", self.study, "--data", self.data, *self.call(self.launches[-1])]
        mine = start("toolkit.launch", *what)
        wait_for(lambda: len(self.records()) > before, 60, "its first array", every=0.001)
        other = as_nobody("toolkit.launch", *what)
        assert mine.wait(timeout=120) == 0
        assert other.returncode == 0, other.stderr
        assert "0 to run" in other.stderr

    def results_full(self) -> None:
        """Nothing can be written to results/ until a task has tried to; meanwhile the partition starts nothing."""
        before = self.refusals()
        self.cluster.slurm("scontrol", "update", "partitionname=main", "state=down")
        with full(self.study / "results"):
            wait_for(lambda: self.refusals() > before, 400, "a task that wants to write its result", every=2)
        self.cluster.slurm("scontrol", "update", "partitionname=main", "state=up")

    def refusals(self) -> int:
        """Results that could not be written, by the logs."""
        return len(re.findall(r"results/\w+\.json cannot be written", self.logs()))

    def logs_full(self) -> None:
        """Nobody can log for a while; a launcher that cannot write its script says so in a line."""
        with full(self.study / "logs"):
            self.look_for(10)
            told = verb("toolkit.launch", "--study", self.study, "--data", self.data, "--executor", "slurm")
            assert "Traceback" not in told.stderr

    def checkpoint_corrupt(self) -> None:
        """A checkpoint becomes nonsense and its task dies: the next run refuses it, `--retry failed` starts over."""
        victim = self.victim()
        (task_id,) = (p.stem for p in self.heartbeats() if orjson.loads(p.read_bytes())["pid"] == victim.pid)
        latest = Study(self.study).checkpoint_folder(task_id) / "latest.pt"
        wait_for(latest.exists, 60, "a checkpoint")
        os.kill(victim.pid, signal.SIGKILL)
        wait_for(lambda: not process_lives(victim.pid), 30, "the end of the task")
        latest.write_bytes(b"\0" * latest.stat().st_size)
        self.replaced.add(task_id)

    def progress_deleted(self) -> None:
        """All heartbeats are gone; those that live come back."""
        self.victim()
        for path in self.heartbeats():
            path.unlink(missing_ok=True)
        self.look()

    def heartbeats(self) -> list[Path]:
        return list((self.study / "progress").glob("[!.]*.json"))

    def call(self, call: list[object]) -> list[object]:
        return [*call, "--recipe", "smoke"]

    def launch(self) -> None:
        for call in self.launches:
            launch(self.study, self.data, *call, "--retry", "failed")

    def in_training(self) -> list[str]:
        """Tasks to strike: the long ones that have learnt something, of an epoch at least."""
        tasks, study = Study(self.study).tasks(), Study(self.study)
        found = [task_id for task_id in super().in_training() if tasks[task_id].recipe.epochs == LONG]
        return [task_id for task_id in found if (seen := study.progress(task_id)) and seen.epoch >= 1]

    def look_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.look()
            time.sleep(1)

    def queue(self) -> dict[tuple[str, int], str]:
        """Slurm's states by the name of a submission, which is its jobs', and array index."""
        listed = self.cluster.slurm("squeue", "--noheader", "--array", "--all", "--format=%K|%T|%j")
        assert listed.returncode == 0, listed.stderr
        rows = (line.split("|") for line in listed.stdout.splitlines())
        return {(name, int(index) if index.isdigit() else 0): state for index, state, name in rows}

    def look(self) -> None:
        """One moment: what status says, beside the queue before and after it."""
        before, results = self.queue(), self.results()
        done = verb("toolkit.status", self.study, "--json")
        assert done.returncode == 0, done.stderr
        told, after = orjson.loads(done.stdout)["ids"], self.queue()
        places = {
            task_id: (submission.name, index)
            for submission in submissions(Study(self.study))
            for index, element in enumerate(submission.elements)
            for task_id in element
        }
        for state, ids in told.items():
            for task_id in ids:
                place = places.get(task_id)
                if why := self.false_word(state, task_id, (before.get(place, ""), after.get(place, "")), results):
                    self.false_words.append(f"{task_id} {state}: {why}")
        self.looks += 1

    def false_word(self, state: str, task_id: str, queue: tuple[str, str], results: set[str]) -> str:
        """Why the word is false; empty when it was true before or after."""
        here = Study(self.study).result_path(task_id).exists()
        seen = Study(self.study).progress(task_id)
        lives = seen is not None and process_lives(seen.pid)
        match state:
            case "done" | "diverged" | "failed":
                return "" if here or task_id in self.replaced else "no result"
            case "running":
                return "" if any(queue) or lives or here else "neither queue nor process has it"
            case "queued":
                return "" if any(queue) or here else "not in the queue"
            case "lost" | "preempted" | "waiting":
                true = not all(queue) or (state == "lost" and not lives) or here
                return "" if true and task_id not in results else f"in the queue {queue}"
            case "finishing":
                return "" if not all(queue) or here else f"in the queue {queue}"
            case _:
                return "no such state was to be expected"

    def results(self) -> set[str]:
        """Ids with results; one that has changed since it was seen is a doubled one."""
        found = {}
        for path in (self.study / "results").glob("[!.]*.json"):
            with contextlib.suppress(FileNotFoundError, ValueError):
                if orjson.loads(path.read_bytes())["status"] != "failed":
                    found[path.stem] = (path.stat().st_ino, path.stat().st_mtime_ns)
        for task_id, stamp in found.items():
            if self.seen.setdefault(task_id, stamp) != stamp:
                self.false_words.append(f"{task_id}: its result was written twice")
        return set(found)


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """A file that takes all the room of the folder's disk."""
    filler = folder / ".filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 20))
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 512)
    try:
        yield
    finally:
        filler.unlink()


@pytest.fixture
def shared(tmp_path: Path, data: Path) -> Iterator[Path]:
    """A group's folder that two users can write, results and logs on small disks of their own."""
    if os.geteuid():
        real_part("a disk of its own for a folder (mount)", "run as root")
    folder = Path(tempfile.mkdtemp(prefix="second-storm-"))
    shutil.copytree(data, folder / "data")
    study = folder / 'it\'s "rougher"'
    for room in ("", "results", "logs", "tasks", "submissions", "progress", "checkpoints", "nodes"):
        (study / room).mkdir(exist_ok=True)
    for room in ("results", "logs"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "none", study / room], check=True)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 0, 65534)
        path.chmod(0o2775 if path.is_dir() else 0o664)
    yield folder
    for room in ("results", "logs"):
        subprocess.run(["umount", "--lazy", study / room], check=True)
    shutil.rmtree(folder)


@pytest.fixture
def rough_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="slurm-")))
    cluster.start(nodes=2, cpus=1, max_array_size=8, requeue_s=5)
    monkeypatch.setenv("SLURM_CONF", str(cluster.config))
    yield cluster
    cluster.stop()


def ride_out(storm: SecondStorm, faults: list[Callable[[], None]], tasks: int, seconds: float) -> None:
    """Strike, look and launch again, until every task has its result and status was compared often enough."""
    deadline = time.monotonic() + seconds
    while len(storm.results()) < tasks or storm.looks < MOMENTS:
        assert time.monotonic() < deadline, (storm.struck, faults, storm.false_words)
        storm.look()
        if struck := bool(faults and storm.in_training()):
            print(f"{time.strftime('%H:%M:%S')} {faults[0].__name__}, {len(storm.results())} done", flush=True)
            storm.strike(faults.pop(0))
        if struck or not storm.queue():
            storm.launch()
        time.sleep(1)
    assert not faults, f"all was done before {[fault.__name__ for fault in faults]}"


def test_a_storm_of_nodes_clocks_disks_and_files(rough_cluster: Cluster, shared: Path, tmp_path: Path) -> None:
    profile = shared / "profile.toml"
    profile.write_text("cpus = 1\ntime_min = 30\ngrace_s = 10\n")
    slurm = ["--dataset", "tiny", "--executor", "slurm", "--profile", profile]
    small = ["--set", "epochs=8", *slurm]
    struck = ["--array", "200-215", "--set", f"epochs={LONG}", *slurm]
    launches = [struck, ["--array", "0-79", *small, "--per-job", 10], ["--array", "100-131", *small, "--pack", 4]]
    late = [["--array", "80-99", *small, "--per-job", 10], ["--array", "140-155", *small, "--per-job", 8]]
    storm = SecondStorm(rough_cluster, shared / 'it\'s "rougher"', shared / "data", launches, late)
    faults = [
        storm.suspended, storm.controller_gone_for_a_minute, storm.progress_deleted, storm.clock_off, storm.drained,
        storm.two_launchers_of_two_users, storm.checkpoint_corrupt, storm.logs_full, storm.node_down,
        storm.results_full, storm.clock_off, storm.progress_deleted, storm.node_down,
    ]  # fmt: skip
    tasks, began = 164, time.monotonic()
    storm.launch()
    ride_out(storm, faults, tasks, seconds=3000)
    print(f"{tasks} tasks in {len(storm.records())} arrays, {time.monotonic() - began:.0f} s: {dict(storm.struck)}")
    restarts = sum(Study(storm.study).result(task_id).provenance.restarts for task_id in errors(storm.study))
    print(f"{storm.looks} looks, {len(storm.false_words)} false words; {restarts} restarts")
    ends = completions(storm.study)
    print(f"ends in the logs: {Counter(ends.values())}", flush=True)
    assert not storm.false_words
    assert max(ends.values()) == 1  # a line that found the disk of the logs full is missing, none is there twice
    calm = tmp_path / "undisturbed"
    for call in storm.launches:
        here = [*call[: call.index("--executor")], "--executor", "local", "--jobs", 2]
        launch(calm, storm.data, *here, within_s=3000)
    assert len(errors(calm)) == tasks
    assert errors(storm.study) == errors(calm)
