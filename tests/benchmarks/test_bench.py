import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.training.betons import write_dataset
from toolkit import bench
from toolkit.bench import main
from toolkit.benchmarks import _gpu_layers, _gpu_rates, _nets, _part, _turns, gpu
from toolkit.benchmarks._gpu_checks import CHECKS
from toolkit.benchmarks._part import Part
from toolkit.benchmarks._traffic import traffic
from toolkit.errors import UsageError
from toolkit.training import device
from toolkit.training.fused import FusedNorm
from toolkit.training.loader import pageable


def test_what_is_installed_without_the_tests_measures_the_machine_and_says_where_the_peers_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert {"loader", "sweep", "writer", "coverage"} <= bench.find_benchmarks().keys()
    monkeypatch.setattr(bench, "TREE", tmp_path)
    assert list(bench.find_benchmarks()) == ["gpu", "loader", "sweep"]
    with pytest.raises(UsageError, match=r"'writer'.*known: gpu, loader, sweep.*source tree, in tests/benchmarks"):
        main(["writer"])


def test_the_loader_benchmark_measures_its_contestants(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--images", "40", "--size", "60", "80", "--side", "32", "--batch", "8", "--workers", "1", "--rounds", "1"]
    assert main(["loader", *few, "--seconds", "0.1", "--only", "limit", "ours", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert list(rows) == ["limit", "ours"]
    assert all(row["images_per_s"] > 0 and row["peak_mib"] > 20 for row in rows.values())


def test_the_sweep_benchmark_measures_packs(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--steps", "2", "--batch", "8", "--images", "16", "--epochs", "1", "--rounds", "1", "--workers", "1"]
    assert main(["sweep", "--packs", "1", "2", *few, "--whole", "2", "--peer", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["k"] for row in document["rows"]] == [1, 2] and document["macs_per_s"] > 0
    ways = document["rows"][1]["ways"]
    assert list(ways) == ["arithmetic", "pack", "one by one", "torchvision"] and ways["arithmetic"]["share"] == 1
    assert all(way["rate"] > 0 for way in ways.values())
    whole = document["whole"]["seconds"]
    assert list(whole) == ["arithmetic", "pack", "one by one"] and whole["pack"] > whole["arithmetic"] > 0
    assert document["whole"]["cpu_s"]["pack"] > document["whole"]["cpu_s"]["arithmetic"] > 0


WITHOUT = """
import sys
for name in ("polars", "submitit", "ffcv"):
    sys.modules[name] = None
from toolkit.bench import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_gpu_benchmark_runs_small_on_a_processor_and_needs_no_more_than_training_does(tmp_path: Path) -> None:
    out = tmp_path / "it's out"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "gpu", "--minutes", "60", "--out", str(out)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(bench.TREE)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    documents = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    assert documents.keys() == gpu.SHARES.keys()
    assert all(d["rows"] and "error" not in d and "cut" not in d for d in documents.values())
    checks = documents["correctness"]["rows"]
    assert len(checks) == len(CHECKS) and all(row.get("right", True) for row in checks)
    untried = [
        "replayed equals launched",
        "fused norms equal torchs",
        "dense groups equal grouped ones",
        "pinned batches arrive whole",
    ]
    untried.append("bfloat16 learns as float32")
    assert [row["check"] for row in checks if "right" not in row] == untried
    assert all("skipped" in documents[part]["rows"][0] for part in ("graphs", "fused", "grouped"))
    assert (out / "gpu.md").read_text() in done.stdout and "| pack equals alone | yes |" in done.stdout


def test_the_jpeg_benchmark_compares_the_walk_with_libjpegs_own_ways(
    libturbojpeg: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["jpeg", "--images", "4", "--rounds", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["us"].keys() == {"own walk", "tjTransform", "decode"} and min(document["us"].values()) > 0
    assert document["times"]["own walk"] == 1


class AsIfOnAGpu(_gpu_rates.Scale):
    """Runs what a GPU is asked, on a processor: stand-ins replay graphs and do the fused operations one by one."""

    cuda = True

    def wait(self) -> None:
        pass


@pytest.fixture
def as_if_on_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> _gpu_rates.Scale:
    write_dataset(tmp_path / "dataset", 16, 8, classes=8)
    monkeypatch.setattr(FusedNorm, "forward", lambda norm, x, residual=None: norm._apart(x, residual))
    for module in (_gpu_rates, _gpu_layers, _nets):
        monkeypatch.setattr(module, "cuda_graph", lambda work: work)
    monkeypatch.setattr(_gpu_rates, "_graph_of_its_own", lambda work: work)
    monkeypatch.setattr(device, "pinned", pageable)
    monkeypatch.setattr(torch.cuda, "Stream", nullcontext)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    sizes = gpu._sizes(cuda=False)
    return AsIfOnAGpu(torch.device("cpu"), tmp_path, **{**sizes, "batch": 2, "packs": (2,)})


@pytest.mark.parametrize("name", ["graphs", "fused", "grouped", "packs"])
def test_a_gpus_rows_are_right_where_stand_ins_compute(
    name: str, as_if_on_a_gpu: _gpu_rates.Scale, tmp_path: Path
) -> None:
    part = Part(name, tmp_path, 600, {})
    (_gpu_rates.RATES | _gpu_layers.RATES)[name](part, as_if_on_a_gpu)
    rows = part.document["rows"]
    assert rows and "cut" not in part.document
    for row in rows:  # the stand-in rounds after each of the fused operations, and ReLU then opens elsewhere
        assert row["distance"] < 0.2 if "distance" in row else row.get("right", True)
    assert all(value > 0 for row in rows for key, value in row.items() if key.endswith(("_ms", "gain", "of_limit")))


def test_graphs_that_are_replayed_side_by_side_share_neither_memory_nor_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """cuBLAS has one workspace for a stream, and a graph keeps the one that it was recorded with."""
    recorded = []

    def capture(graph: object, pool: object = None, stream: object = None, capture_error_mode: str = "global") -> Any:
        recorded.append((pool, stream))
        return nullcontext()

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=None))
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "Stream", object)
    for _ in range(2):
        _gpu_rates._graph_of_its_own(lambda: None)
    (pool, one), (another_pool, other) = recorded
    assert pool is another_pool is None and one is not None and one is not other


def test_traffic_is_counted_in_passes() -> None:
    """Of a net with one shape of activations all through, by hand."""
    small, large = (traffic("anynetx-500/1", side, 8) for side in (32, 64))
    assert large.fused == 4 * small.fused and large.apart == 4 * small.apart  # all goes with the pixels
    fused_away = small.apart - small.fused
    assert 0 < fused_away < small.apart / 3
    assert traffic("anynetx-500/1", 32, 8, bytes_each=4).fused == 2 * small.fused
    assert small.images_s(2.0 * small.fused) == 2


def test_a_part_without_time_or_with_an_error_is_told(tmp_path: Path) -> None:
    part = Part("steps", tmp_path, seconds=0, about={"device": "a|card"})
    assert not part
    part.add(net=1, right=False)
    part.close("RuntimeError: no luck")
    told = gpu.markdown([json.loads((tmp_path / "steps.json").read_text())])
    assert all(text in told for text in ("over before all rows", "Broken off: RuntimeError: no luck", "| 1 | **no** |"))


def test_a_part_that_breaks_is_told_and_the_others_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    errors = {"ceilings": KeyError("cores"), "steps": AssertionError()}

    def breaks(part: Part, scale: _gpu_rates.Scale) -> None:
        part.add(what="begun")
        raise errors[part.document["part"]]

    for name in errors:
        monkeypatch.setitem(_gpu_rates.RATES, name, breaks)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert main(["gpu", "--only", *errors, "graphs", "--out", str(tmp_path)]) == 1
    documents = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in (*errors, "graphs")}
    assert "error" not in documents["graphs"]
    for name, error in errors.items():
        told, rows = documents[name]["error"], documents[name]["rows"]
        assert told.startswith(type(error).__name__) and rows == [{"what": "begun"}]
        assert f"Broken off: {told}." in (tmp_path / "gpu.md").read_text()


def test_a_part_counts_what_its_process_took_to_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who ends it counts that too, and would end it within a row where there is no time for one."""
    now = [0.0]
    monkeypatch.setattr(gpu, "prepare", lambda workers: now.append(30.0))  # it imports torch
    for module in (gpu, _part):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[-1]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    inside = ["--only", "steps", "--inside", str(tmp_path), "--out", str(tmp_path), "--minutes"]
    assert main(["gpu", *inside, "0.4"]) == 0
    document = json.loads((tmp_path / "steps.json").read_text())
    assert document["cut"] and document["rows"] == []


def test_a_part_begins_no_row_that_may_outlast_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now = [0.0]
    monkeypatch.setattr(_part, "time", SimpleNamespace(monotonic=lambda: now[-1]))
    part, looks = Part("packs", tmp_path, 10, {}), []
    for row_s in (1, 4, 1):
        now.append(now[-1] + row_s)
        part.add(seconds=row_s)
        looks.append(bool(part))
    assert looks == [True, True, False] and part.document["cut"]


@pytest.mark.parametrize(
    ("does", "why"),
    [("exec sleep 60", "took longer than its share of the time"), ("exit 5", "ended with status 5")],
    ids=["hangs", "breaks"],
)
def test_a_gpus_part_is_ended_with_its_share_and_keeps_the_rows_that_it_had(
    does: str, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A part is a process of its own there; here a program that has written one row stands for it."""
    program = tmp_path / "python"
    row = json.dumps({"part": "steps", "rows": [{"net": 1}]})
    program.write_text(f"#!/bin/sh\necho '{row}' > {tmp_path}/steps.json\n{does}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "GRACE_S", 0.5)
    gpu._run_part("steps", tmp_path, 0.5, "pictures")
    assert json.loads((tmp_path / "steps.json").read_text()) == {"error": why, "part": "steps", "rows": [{"net": 1}]}


LATE = """
import os, signal, sys, time
open(sys.argv[1], "w").write(str(os.getpid()))
os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(1)
"""
OTHER = """
import sys, time
from pathlib import Path
late, looks, x = Path("/proc", Path(sys.argv[1]).read_text(), "stat"), [], sum(range(10**6))
try:
    while len(looks) < 30:
        time.sleep(0.02)
        looks.append(late.read_text().rpartition(")")[2].split()[0] == "T")
except FileNotFoundError:
    pass  # it has ended
sys.exit(0 if sum(looks) > len(looks) / 2 else f"{sum(looks)} of {len(looks)}")
"""


def test_processes_in_turns_move_in_their_own_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_turns, "TURN_S", 0.2)
    programs = {"late": LATE, "other": OTHER, "failing": "raise SystemExit('no luck')"}
    commands = {name: [sys.executable, "-c", text, str(tmp_path / "pid")] for name, text in programs.items()}
    runs = _turns.in_turns(commands, prepared="late")
    assert runs["other"].status == 0, runs["other"].last_words
    assert (runs["failing"].status, runs["failing"].last_words) == (1, "no luck")
    assert all(ended.seconds > 0 for ended in runs.values()) and runs["late"].cpu_s < runs["other"].cpu_s
