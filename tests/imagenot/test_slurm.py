"""Shards as an array on the one-machine Slurm, on the host and in an image."""

import json
import time
from pathlib import Path

import polars as pl
import pytest

from data_prep.imagenot import shards
from data_prep.imagenot.__main__ import main
from data_prep.imagenot.build import Build
from slurm.cluster import Cluster
from tests.imagenot.small import many_shards
from toolkit.errors import UsageError

pytestmark = pytest.mark.cluster


@pytest.fixture(params=["host", "image"])
def profile(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "image":
        return request.getfixturevalue("image_profile")
    path = tmp_path / "profile.toml"
    path.write_text("cpus = 1\ntime_min = 10\n")
    return path


def test_an_array_does_what_is_missing(
    cluster: Cluster, profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = many_shards(tmp_path, 4)
    on_slurm, here = tmp_path / "on slurm", tmp_path / "here"
    for build in (on_slurm, here):
        assert main(["classes", str(build)]) == 0
        first = ["--shard", "2"] if build == on_slurm else []
        assert main(["match", str(build), "--source", str(source), *first]) == 0
    finished = (on_slurm / "match" / "00002.json").stat().st_mtime_ns
    capsys.readouterr()
    array = ["match", str(on_slurm), "--executor", "slurm", "--jobs", "2", "--profile", str(profile), "--json"]
    assert main(array) == 0
    assert json.loads(capsys.readouterr().out)["match"]["shards"] == 3
    deadline = time.monotonic() + 180
    while shards.unfinished(Build.open(on_slurm), "match") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert main(array) == 0
    assert json.loads(capsys.readouterr().out)["match"]["rows"] == 4 * 3000
    assert (on_slurm / "match" / "00002.json").stat().st_mtime_ns == finished
    for shard in range(4):
        tables = [pl.read_parquet(build / "match" / f"{shard:05d}.parquet") for build in (on_slurm, here)]
        assert tables[0].equals(tables[1])
    logs = [path.read_text() for path in (on_slurm / "logs").glob("*_log.out")]
    where = "image sha256:" if "image" in profile.read_text() else "image none"
    assert len(logs) == 3 and all(where in text.lower() for text in logs)


def test_an_image_that_lacks_a_module_is_refused(cluster: Cluster, image_profile: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.toml"
    bare.write_text("\n".join(line for line in image_profile.read_text().splitlines() if not line.startswith("binds")))
    build = str(tmp_path / "build")
    assert main(["classes", build]) == 0
    with pytest.raises(UsageError, match=r"image .*\.sif lacks polars, pyarrow, fsspec: build it anew"):
        main(["match", build, "--source", str(many_shards(tmp_path, 1)), "--executor", "slurm", "--profile", str(bare)])
    assert not cluster.slurm("squeue", "--noheader").stdout
