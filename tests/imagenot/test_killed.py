"""Every stage, killed and started again until it is through: the same output, and no finished shard done twice."""

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import polars as pl
import psutil
import pytest

from data_prep.imagenot.__main__ import main
from data_prep.imagenot.options import STAGES
from tests.imagenot.small import CHOSEN, PER_CLASS, command, many_shards
from toolkit.study.dataset import find_dataset


def copy_before(built: Path, stage: str, folder: Path) -> Path:
    """The build as it was before a stage: the options, and the rooms of the stages before."""
    build = folder / "build"
    build.mkdir()
    shutil.copy(built / "build.json", build)
    for name in STAGES[: STAGES.index(stage)]:
        shutil.copytree(built / name, build / name)
    return build


def finished(room: Path) -> dict[Path, int]:
    """When each finished shard's counts and output were written."""
    shards = [path.stem for path in room.glob("[0-9]*.json")]
    return {path: path.stat().st_mtime_ns for s in shards for path in (room / f"{s}.json", *room.glob(f"{s}.parquet"))}


@pytest.fixture(scope="module")
def builders() -> Iterator["subprocess.Popen[str]"]:
    """Runs builders that die; see `dying`."""
    command = [sys.executable, "-m", "tests.imagenot.dying"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


def run_and_kill(builders: "subprocess.Popen[str]", arguments: list[str], room: Path) -> int:
    """Kill before the second rename, start again, kill before the third, and so on; how often it was killed."""
    for renames in count(1):
        before = finished(room)
        print(json.dumps([renames, *arguments]), file=builders.stdin, flush=True)
        status = int(builders.stdout.readline())
        assert {path: path.stat().st_mtime_ns for path in before} == before
        if status != -signal.SIGKILL:
            assert status == 0
            return renames - 1
    raise AssertionError


@pytest.mark.parametrize(("stage", "kills"), [("classes", 1), ("match", 2), ("select", 1), ("clean", 3)])
def test_killed_at_every_rename(
    builders: "subprocess.Popen[str]", built: Path, tmp_path: Path, stage: str, kills: int
) -> None:
    build = copy_before(built, stage, tmp_path)
    assert run_and_kill(builders, [stage, str(build)], build / stage) >= kills
    for path in (built / stage).glob("*"):
        again = build / stage / path.name
        same = pl.read_parquet(again).equals(pl.read_parquet(path)) if path.suffix == ".parquet" else None
        assert same if same is not None else again.read_bytes() == path.read_bytes(), path
    assert not list((build / stage).glob(".tmp*"))


def test_workers_end_with_the_stage(tmp_path: Path) -> None:
    build, source = tmp_path / "build", many_shards(tmp_path, 8)
    assert main(["classes", str(build)]) == 0
    arguments = command("match", build, "--source", source, "--jobs", 2, "--set", "batch_rows=100")
    below = start_and_kill(arguments, lambda: (build / "match" / "00000.json").exists())
    assert len(below) >= 2 and not psutil.wait_procs(below, timeout=60)[1]
    finished_then = finished(build / "match")
    assert main(["match", str(build), "--jobs", "2"]) == 0
    assert {path: path.stat().st_mtime_ns for path in finished_then} == finished_then
    assert sum(json.loads(path.read_bytes())["rows"] for path in (build / "match").glob("0*.json")) == 8 * 3000


def test_no_caption_is_encoded_twice(builders: "subprocess.Popen[str]", built: Path, tmp_path: Path) -> None:
    build = copy_before(built, "score", tmp_path)
    assert run_and_kill(builders, ["score", str(build)], build / "score") >= 2
    for path in (built / "score").glob("*.parquet"):
        assert pl.read_parquet(build / "score" / path.name).equals(pl.read_parquet(path))
    # The counts too: what a killed run had scored in finished shards came from them, and the rest was encoded once.
    for path in (built / "score").glob("*.json"):
        assert (build / "score" / path.name).read_bytes() == path.read_bytes()


def test_killed_while_it_writes_the_dataset(built: Path, tmp_path: Path) -> None:
    build = copy_before(built, "write", tmp_path)
    data = tmp_path / "data"
    start_and_kill(command("write", build, "--data", data), lambda: list(data.glob(".tmp*/*")))
    assert not (data / "tiny").exists()
    subprocess.run(command("write", build, "--data", data), check=True)
    hashes = [find_dataset("tiny", folder).manifest.content_hash for folder in (data, built.parent / "data")]
    assert hashes[0] == hashes[1]
    assert not list(data.glob(".tmp*"))


def start_and_kill(arguments: list[str], when: Callable[[], object], seconds: float = 500) -> list[psutil.Process]:
    """Kill it when the condition holds; the processes that it had started."""
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + seconds
    try:
        while not when():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        return psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.wait()


def test_killed_while_it_fetches(built: Path, tmp_path: Path, site: tuple[str, list[str]]) -> None:
    """Nothing goes on fetching; what was fetched is not asked for again, nor is anything but the shard in hand."""
    build = copy_before(built, "download", tmp_path)
    room, (_, asked) = build / "download", site
    start, first = len(asked), room / "00-00000"
    start_and_kill(
        command("download", build, "--set", "shard_urls=24"),
        lambda: first.with_suffix(".json").exists() and len(seeds(asked[start:]) - seeds(urls(first))) > 2,
    )
    before, restart = finished(room), len(asked)
    subprocess.run(command("download", build, "--set", "shard_urls=10000"), check=True)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert asked[restart:] and not seeds(asked[restart:]) & seeds(urls(first))
    assert_fetched_as(built, room)


def test_a_full_disk_while_it_fetches(built: Path, tmp_path: Path) -> None:
    """One line instead of a wait without end, and nothing is left running or lying about."""
    build = copy_before(built, "download", tmp_path)
    done = subprocess.run(
        command("download", build),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    [error] = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "00-00000 cannot be written (File too large)" in error
    assert not list((build / "download").glob(".tmp-*"))


def urls(shard: Path) -> list[str]:
    return pl.read_parquet(shard / "00000.parquet", columns=["url"])["url"].to_list()


def seeds(addresses: list[str]) -> set[str]:
    """What an address and the one that it leads on to have in common."""
    return {address.rpartition("=")[2] for address in addresses}


def assert_fetched_as(built: Path, room: Path) -> None:
    tables = [
        pl.concat([pl.read_parquet(path, columns=["id", "class", "status"]) for path in folder.glob("*/00000.parquet")])
        for folder in (room, built / "download")
    ]
    here, there = tables
    assert here.join(there, on=["id", "class", "status"], how="anti").is_empty() and here["id"].is_unique().all()
    alive = here.filter(pl.col("status") == "success").group_by("class").len()
    assert len(alive) == len(CHOSEN) and (alive["len"] >= PER_CLASS).all()
