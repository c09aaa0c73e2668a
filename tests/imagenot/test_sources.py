"""Metadata as its releases have it: columns by other names, empty ones, text tables, and remote storage."""

import gzip
import json
import os
from pathlib import Path

import polars as pl
import pytest

from data_prep.imagenot.__main__ import main
from data_prep.imagenot.laion import Batch, check_filters, drop_reason, find_columns, find_sources, read_batches
from data_prep.imagenot.options import Match
from tests.imagenot.laion import rows
from toolkit.errors import ToolkitError, UsageError

GO_WITHOUT = Match(safe=(), max_punsafe=1, min_side=0)


def read(path: Path, section: Match = GO_WITHOUT) -> Batch:
    [batch] = read_batches(str(path), 100)
    check_filters(str(path), batch.has, section)
    return batch


def dropped(batch: Batch, section: Match) -> list[str | None]:
    return batch.rows.select(drop_reason(section, batch.has)).to_series().to_list()


def table(folder: Path, **columns: list[object]) -> Path:
    path = folder / "a.parquet"
    pl.DataFrame(columns, strict=False).write_parquet(path)
    return path


def test_coyo(tmp_path: Path) -> None:
    n = 5
    scores = [0.1, 0.9, 0.1, None, float("nan")], [0.2, 0.1, 0.7, 0.1, 0.1]
    path = table(
        tmp_path, id=list(range(n)), url=["http://h/a"] * n, text=["an apple"] * n, width=[300] * n, height=[400] * n,
        nsfw_score_opennsfw2=scores[0], nsfw_score_gantman=scores[1], clip_similarity_vitb32=[0.3] * n,
    )  # fmt: skip
    batch = read(path, Match())
    assert dropped(batch, Match()) == [None, "unsafe", "unsafe", "unsafe", "unsafe"]
    assert batch.rows["similarity"][0] == 0.3 and batch.rows["sample_id"][0] == "0"


def test_datacomp(tmp_path: Path) -> None:
    path = table(
        tmp_path, uid=["00ab"], url=["http://h/a"], text=["an apple"], original_width=[640], original_height=[480],
        clip_b32_similarity_score=[0.25], face_bboxes=[[[0.1, 0.2, 0.3, 0.4]]], sha256=["ab" * 32],
    )  # fmt: skip
    with pytest.raises(ToolkitError, match=r"neither NSFW nor .*--set safe= --set max_punsafe=1 goes without"):
        read(path, Match())
    row = read(path, Match(safe=(), max_punsafe=1)).rows.row(0, named=True)
    assert (row["sample_id"], row["width"], row["sha256"], row["similarity"]) == ("00ab", 640, "ab" * 32, 0.25)


def test_laion_coco_and_what_img2dataset_adds(tmp_path: Path) -> None:
    path = table(
        tmp_path, URL=["http://h/a"], TEXT=["an apple"], top_caption=["a model's words"], WIDTH=[640], HEIGHT=[480],
        width=[256], height=[192], original_width=[641], original_height=[481], NSFW=["UNLIKELY"],
    )  # fmt: skip
    row = read(path).rows.row(0, named=True)
    assert (row["caption"], row["width"], row["height"]) == ("an apple", 641, 481)
    without = table(tmp_path, URL=["u"], top_caption=["a model's words"], WIDTH=[640], width=[256])
    assert read(without).rows.select("caption", "width").row(0) == ("a model's words", 640)
    assert find_columns("x", ["url", "URL", "TEXT"], empty=["URL"])["url"] == ["url"]


def test_unknown_columns_say_nothing_of_safety(tmp_path: Path) -> None:
    same = {"url": ["http://h/a"], "text": ["an apple"], "width": [300], "height": [300]}
    for unknown in ({"is_safe": [True]}, {"nsfw_score": [0.0]}, {"safety": ["UNLIKELY"]}):
        with pytest.raises(ToolkitError, match="says of no image whether it is safe"):
            read(table(tmp_path, **same, **unknown), Match())
    strange = read(table(tmp_path, **same, NSFW=["probably not"]), Match())
    assert dropped(strange, Match()) == ["unsafe"]


@pytest.mark.parametrize("empty", [None, float("nan")])
def test_empty_columns_are_a_question(tmp_path: Path, empty: float | None) -> None:
    path = tmp_path / "a.parquet"
    rows(["an apple"] * 3, WIDTH=pl.Series([empty] * 3, dtype=pl.Float64)).write_parquet(path)
    with pytest.raises(ToolkitError, match="--set min_side=0 goes without"):
        read(path, Match())
    rows(["an apple"] * 3, WIDTH=pl.Series([empty, 300, 100], dtype=pl.Float64)).write_parquet(path)
    assert dropped(read(path, Match()), Match()) == ["small", None, "small"]
    rows(["an apple"] * 3, NSFW=pl.Series([None] * 3, dtype=pl.String)).write_parquet(path)
    with pytest.raises(ToolkitError, match="or they are empty"):
        read(path, Match())
    rows(["an apple"] * 3, NSFW=pl.Series([None] * 3, dtype=pl.String), punsafe=[0.1, 0.9, None]).write_parquet(path)
    assert dropped(read(path, Match()), Match()) == [None, "unsafe", "unsafe"]


def test_conceptual_captions(tmp_path: Path) -> None:
    """CC12M has the URL first, CC3M the caption; neither has a line of names, and quotes stand for themselves."""
    captions = ['a "red apple', "an apple, sliced", "Äpfel"]
    urls = [f"http://h/{i}" for i in range(3)]
    lines = [f"{url}\t{caption}" for url, caption in zip(urls, captions, strict=True)]
    (tmp_path / "cc12m.tsv").write_text("\n".join([*lines, "http://h/3\ttoo\tmany", "alone"]) + "\n")
    batch = read(tmp_path / "cc12m.tsv")
    assert batch.rows["caption"].to_list() == [*captions, None, None] and batch.rows["url"].to_list()[:3] == urls
    assert dropped(batch, GO_WITHOUT) == [None, None, None, "broken", "broken"]
    (tmp_path / "Train_GCC-training.tsv").write_text(f"{captions[0]}\t{urls[0]}\n")
    assert read(tmp_path / "Train_GCC-training.tsv").rows.select("caption", "url").row(0) == (captions[0], urls[0])
    (tmp_path / "three.tsv").write_text("http://h/1\tan apple\t3\n")
    with pytest.raises(ToolkitError, match=r"three\.tsv has no line of names, and 3 columns"):
        read(tmp_path / "three.tsv")


def test_compressed_csv_with_names(tmp_path: Path) -> None:
    lines = ('http://h/a,"an apple, or ""two""\nor three",300,200,UNLIKELY', "http://h/b,a pear,,,")
    text = "\n".join(["URL,TEXT,WIDTH,HEIGHT,NSFW", *lines, ""])
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert find_sources([str(tmp_path)]) == [f"file://{tmp_path}/a.csv.gz"]
    batch = read(tmp_path / "a.csv.gz", Match())
    assert batch.rows["caption"][0] == 'an apple, or "two"\nor three' and batch.rows["width"][0] == 300
    assert dropped(batch, Match()) == [None, "unsafe"]
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode())[:-20])
    with pytest.raises(ToolkitError, match=r"a\.csv\.gz cannot be read after row 0"):
        read(tmp_path / "a.csv.gz")


def test_remote_sources_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    build = str(tmp_path / "build")
    assert main(["classes", build]) == 0
    with pytest.raises(UsageError, match=r"hf://datasets/laion/relaion2B-en-research-safe cannot be .*HF_TOKEN"):
        main(["match", build])
    with pytest.raises(UsageError, match=r"s3://bucket/x\.parquet .*credentials in the environment"):
        find_sources(["s3://bucket/x.parquet"])
    for url in ("hf://hf_secret@datasets/a/b", "s3://key:secret@bucket/x.parquet"):
        with pytest.raises(UsageError, match="credentials come from the environment alone") as caught:
            find_sources([url])
        assert "secret" not in str(caught.value)


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=r"cannot be looked up .*it is no regular file"):
        find_sources([str(tmp_path)])


def test_the_columns_that_were_gone_by_are_kept(tmp_path: Path) -> None:
    from data_prep.imagenot.build import Build
    from data_prep.imagenot.options import Options, changed

    build = Build(tmp_path / "build", changed(Options(), "match", {"sources": [str(tmp_path / "a.parquet")]}))
    build.save(build.options)
    rows(["an apple"], punsafe=[0.1]).write_parquet(tmp_path / "a.parquet")
    assert main(["classes", str(build.path)]) == 0
    assert main(["match", str(build.path)]) == 0
    found = json.loads((build.room("match") / "columns-00000.json").read_bytes())
    assert found["nsfw"] == ["NSFW"] and found["punsafe"] == ["punsafe"] and "language" not in found
