import json

from toolkit.bench import main


def test_the_loader_benchmark_measures_its_contestants(capsys):
    few = ["--images", "40", "--size", "60", "80", "--side", "32", "--batch", "8", "--workers", "1", "--rounds", "1"]
    assert main(["loader", *few, "--seconds", "0.1", "--only", "limit", "ours", "torchvision", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert list(rows) == ["limit", "ours", "torchvision"]
    assert all(row["images_per_s"] > 0 and row["peak_mib"] > 20 for row in rows.values())
