"""What a whole build would do, told before anything runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_prep.imagenot.__main__ import main
from tests.imagenot.laion import rows

CAPTIONS = ["an apple", "apple pie on a table", "no fruit", "LP", "two apples"]


def dry_run(folder: Path, capsys: pytest.CaptureFixture[str], source: Path, *settings: str) -> dict[str, Any]:
    (folder / "wnids.txt").write_text("n07739125\nn07626174\nn03694639")  # apple, apple pie, LP
    options = (f"classes.wnids={folder / 'wnids.txt'}", "select.per_class=100", *settings)
    changes = [word for setting in options for word in ("--set", setting)]
    assert main(["all", str(folder / "build"), "--source", str(source), "--dry-run", "--json", *changes]) == 0
    assert not (folder / "build").exists()
    return json.loads(capsys.readouterr().out)


def test_funnel_cost_disk_and_network_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for shard, number in (("a", 1000), ("b", 9000)):
        urls = [f"https://host-{i % 50}.example/{i}.jpg" for i in range(number)]
        kinds = ["UNLIKELY", "NSFW"]
        table = rows(
            [CAPTIONS[i % 5] for i in range(number)], URL=urls, NSFW=[kinds[i // 5 % 2] for i in range(number)]
        )
        table.write_parquet(tmp_path / f"{shard}.parquet")
    told = dry_run(tmp_path, capsys, tmp_path)
    assert [line.split()[0] for line in told.pop("empty")] == ["n07626174"]
    assert list(told) == ["classes", "match", "score", "select", "download", "clean", "write"]
    match = told["match"]
    assert (match["rows"], match["unsafe"], match["several"], match["matched"]) == (10_000, 5000, 1000, 3000)
    assert told["score"]["captions"] == 3000  # what the filters keep, no more
    assert told["download"]["URLs"] == 600 and told["write"]["images"] == 300
    assert told["download"]["names to look up"] == 30  # 15 hosts in the 300 rows of the sample
    for stage, expected in {"match": 6, "score": 4, "download": 4, "clean": 2}.items():
        assert told[stage]["files"] == expected
    assert told["download"]["GB to fetch"] == 0.06


def test_an_encoder_that_was_not_measured_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = "".join(f"{CAPTIONS[i % 5]}\thttps://a.example/{i}\n" for i in range(300))
    (tmp_path / "cc.tsv").write_text(lines)
    settings = ("match.min_side=0", "match.safe=", "match.max_punsafe=1", "score.model=some/encoder")
    told = dry_run(tmp_path, capsys, tmp_path / "cc.tsv", *settings)
    assert told["score"]["core hours"] == "not measured"
    assert told["match"]["rows"] == pytest.approx(300, rel=0.05)
