"""Shards as an array on the one-machine Slurm."""

import json
import time
from pathlib import Path

import polars as pl
import pytest

from data_prep.imagenot import shards
from data_prep.imagenot.__main__ import main
from data_prep.imagenot.build import Build
from slurm.cluster import Cluster
from tests.imagenot.test_build import many_shards

pytestmark = pytest.mark.cluster


def test_an_array_does_what_is_missing(cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = many_shards(tmp_path, 4)
    profile = tmp_path / "profile.toml"
    profile.write_text("cpus = 1\ntime_min = 10\n")
    on_slurm, here = str(tmp_path / "on slurm"), str(tmp_path / "here")
    for build in (on_slurm, here):
        assert main(["classes", build]) == 0
        assert main(["match", build, "--source", str(source), *(["--shard", "2"] if build == on_slurm else [])]) == 0
    finished = (tmp_path / "on slurm" / "match" / "00002.json").stat().st_mtime_ns
    capsys.readouterr()
    array = ["match", on_slurm, "--executor", "slurm", "--jobs", "2", "--profile", str(profile), "--json"]
    assert main(array) == 0
    assert json.loads(capsys.readouterr().out)["match"]["shards"] == 3
    deadline = time.monotonic() + 180
    while shards.unfinished(Build.open(on_slurm), "match") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert main(array) == 0
    assert json.loads(capsys.readouterr().out)["match"]["rows"] == 4 * 3000
    assert (tmp_path / "on slurm" / "match" / "00002.json").stat().st_mtime_ns == finished
    for shard in range(4):
        tables = [pl.read_parquet(Path(build) / "match" / f"{shard:05d}.parquet") for build in (on_slurm, here)]
        assert tables[0].equals(tables[1])
