import json
import sys

from toolkit.bench import main
from toolkit.benchmarks import _turns


def test_the_loader_benchmark_measures_its_contestants(capsys):
    few = ["--images", "40", "--size", "60", "80", "--side", "32", "--batch", "8", "--workers", "1", "--rounds", "1"]
    assert main(["loader", *few, "--seconds", "0.1", "--only", "limit", "ours", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert list(rows) == ["limit", "ours"]
    assert all(row["images_per_s"] > 0 and row["peak_mib"] > 20 for row in rows.values())


def test_the_sweep_benchmark_measures_packs(capsys):
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


def test_processes_in_turns_move_in_their_own_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(_turns, "TURN_S", 0.2)
    programs = {"late": LATE, "other": OTHER, "failing": "raise SystemExit('no luck')"}
    commands = {name: [sys.executable, "-c", text, str(tmp_path / "pid")] for name, text in programs.items()}
    runs = _turns.in_turns(commands, prepared="late")
    assert runs["other"].status == 0, runs["other"].last_words
    assert (runs["failing"].status, runs["failing"].last_words) == (1, "no luck")
    assert all(ended.seconds > 0 for ended in runs.values()) and runs["late"].cpu_s < runs["other"].cpu_s
