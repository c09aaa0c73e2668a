"""A build of version 0.1, whose images img2dataset fetched, is gone on with: tests/fixtures/v0_1."""

import json
import tarfile
from pathlib import Path

import polars as pl
import pytest

from data_prep.imagenot.__main__ import main
from data_prep.imagenot.stages.clean import KEPT
from toolkit.study.dataset import find_dataset

FIXTURE = Path(__file__).parent.parent / "fixtures" / "v0_1" / "imagenot.tar.xz"


def test_a_build_of_version_0_1_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path)
    build, data = tmp_path / "build", tmp_path / "data"
    before = pl.read_parquet(build / "clean" / KEPT)
    assert main(["status", str(build), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["download"] | {"urls": 18, "success": 10} == status["download"]
    assert (
        main(["download", str(build), "--set", "contact=lab@example.org", "--set", "probe="]) == 0
    )  # nothing is missing
    assert main(["clean", str(build)]) == 0
    assert pl.read_parquet(build / "clean" / KEPT)["id"].to_list() == before["id"].to_list()
    assert main(["write", str(build), "--data", str(data)]) == 0
    assert "not recorded: version 0.1 matched" in (data / "old" / "README.md").read_text()
    (tmp_path / "list").write_text(f"{before['url'][0]}\n")
    assert main(["takedown", str(build), "--listed", str(tmp_path / "list"), "--data", str(data)]) == 0
    urls = pl.read_csv(data / "old" / "urls.csv")
    assert len(urls) == len(before) - 1 and before["id"][0] not in urls["id"].to_list()
    assert find_dataset("old", data).manifest.splits["val"].samples
