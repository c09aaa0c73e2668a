import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from toolkit.study import Study
from toolkit.study.submission import process_lives

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with two datasets of a few small pictures."""
    root = tmp_path_factory.mktemp("data root")
    for name, family in (("tiny", "textures"), ("other", "shapes")):
        options = ["--train", "64", "--val", "40", "--size", "24", "--classes", "4", "--workers", "1"]
        done = verb("data_prep.synthetic", "--data", root, "--name", name, "--family", family, *options)
        assert done.returncode == 0, done.stderr
    return root


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


def verb(name: str, *arguments: object, within_s: float = 300) -> subprocess.CompletedProcess[str]:
    """Run ``python -m NAME`` as a user would."""
    command = [sys.executable, "-m", name, *map(str, arguments)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=within_s, check=False)


def start(name: str, *arguments: object) -> subprocess.Popen[str]:
    """The same, left running."""
    command = [sys.executable, "-m", name, *map(str, arguments)]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def launch(study: Path, data: Path, *arguments: object, within_s: float = 300) -> dict:
    """``toolkit.launch`` with a tiny recipe; its JSON document, with the exit status beside it."""
    recipe = ["--recipe", "smoke"] if "--array" in arguments or "--models" in arguments else []
    done = verb("toolkit.launch", "--study", study, "--data", data, *recipe, "--json", *arguments, within_s=within_s)
    assert done.stdout, done.stderr
    return {**orjson.loads(done.stdout), "exit": done.returncode, "stderr": done.stderr}


def status(study: Path) -> dict:
    done = verb("toolkit.status", study, "--json")
    assert done.returncode == 0, done.stderr
    return orjson.loads(done.stdout)


def wait_for(condition: Callable[[], object], seconds: float, what: str, every: float = 0.1) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(every)


def errors(study: Path) -> dict[str, object]:
    """By task id, all that an undisturbed run must reproduce."""
    results = {path.stem: orjson.loads(path.read_bytes()) for path in Study(study).room("results").glob("[!.]*.json")}
    return {
        i: (r["status"], [(e["epoch"], e["wrong_top1"], e["wrong_top5"], e["loss"]) for e in r["evaluations"]])
        for i, r in results.items()
    }


def running(study: Path) -> list[str]:
    """Tasks of a living process, with no result yet."""
    found = {path.stem: Study(study).progress(path.stem) for path in Study(study).room("progress").glob("[!.]*.json")}
    finished = Study(study).finished() if found else set()
    return [i for i, p in found.items() if p and p.phase != "preempted" and i not in finished and process_lives(p.pid)]


def training(study: Path) -> list[str]:
    """Those of them that have learnt something."""
    beats = {i: Study(study).progress(i) for i in running(study)}
    return [i for i, p in beats.items() if p and p.phase != "starting" and p.step + p.epoch > 0]


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A profile for the one-machine Slurm."""
    path = tmp_path / "profile.toml"
    path.write_text("cpus = 1\ntime_min = 30\ngrace_s = 10\n")
    return path
