import json

from toolkit.bench import main


def test_the_loader_benchmark_measures_its_contestants(capsys):
    few = ["--images", "40", "--size", "60", "80", "--side", "32", "--batch", "8", "--workers", "1", "--rounds", "1"]
    assert main(["loader", *few, "--seconds", "0.1", "--only", "limit", "ours", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert list(rows) == ["limit", "ours"]
    assert all(row["images_per_s"] > 0 and row["peak_mib"] > 20 for row in rows.values())


def test_the_sweep_benchmark_measures_packs(capsys):
    assert main(["sweep", "--packs", "1", "2", "--steps", "2", "--batch", "8", "--workers", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["k"] for row in document["rows"]] == [1, 2] and document["macs_per_s"] > 0
    assert all(row["sweep"] > row["fresh_process"] > 0 for row in document["rows"])
