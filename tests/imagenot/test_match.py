"""Matching: the vectorised matcher against a plain reading of the rule, the filters, and LAION's schemas."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.imagenot.build import Build
from data_prep.imagenot.laion import find_columns, find_sources
from data_prep.imagenot.lemmas import Phrase, words
from data_prep.imagenot.matcher import Matcher
from data_prep.imagenot.options import Match, Options, changed
from data_prep.imagenot.stages import match
from tests.imagenot.laion import rows
from toolkit.benchmarks.match import loop
from toolkit.errors import ToolkitError, UsageError

WORDS = st.sampled_from(["dog", "hot", "house", "cat", "s", "été", "ﬁn", "犬"])
PHRASES = st.lists(WORDS, min_size=1, max_size=3).map(lambda parts: words(" ".join(parts)))
TABLES = st.dictionaries(PHRASES, st.sets(st.integers(0, 4), min_size=1, max_size=2), min_size=1, max_size=6)
CAPTIONS = st.lists(
    st.lists(st.one_of(WORDS, st.sampled_from(["DOG", "dogs", "-", "_", "’", "É", "🐕", ""])), max_size=6).map(" ".join)
    | st.text(max_size=8)
)


def plain(captions: list[str], table: dict[Phrase, set[int]]) -> dict[int, set[int]]:
    """Every row with the labels of all phrases in it: the rule, word by word."""
    found: dict[int, set[int]] = {}
    for row, caption in enumerate(captions):
        text = words(caption)
        runs = {text[i:j] for i in range(len(text)) for j in range(i + 1, len(text) + 1)}
        if labels := set[int]().union(*(table.get(run, set()) for run in runs)):
            found[row] = labels
    return found


@settings(max_examples=60, deadline=None)
@given(CAPTIONS, TABLES)
def test_matcher_is_the_rule(captions: list[str], table: dict[Phrase, set[int]]) -> None:
    found = Matcher(table)(pl.Series(captions, dtype=pl.String))
    expected = plain(captions, table)
    assert found["row"].to_list() == sorted(expected)
    for row, classes, label in found.select("row", "classes", "label").iter_rows():
        assert (classes, label) == (len(expected[row]), min(expected[row]))


def test_benchmark_loop_is_the_rule() -> None:
    table = {("dog",): {0}, ("hot", "dog"): {1}, ("dog", "house"): {2}, ("cat",): {3}}
    captions = ["A Cat!", "hot dog", "dog-house", "dogma", "cat cat", "the_cat", "dog", ""]
    assert loop(captions, table) == {row: min(of) for row, of in plain(captions, table).items() if len(of) == 1}


def a_build(folder: Path, sources: list[str], **options: object) -> Build:
    wnids = folder / "wnids.txt"
    wnids.write_text("n00015388\nn07739125\nn13134947")  # animal, apple, fruit
    build = Build(folder / "build", Options())
    build = build.save(changed(build.options, "classes", {"wnids": str(wnids), "exclude": "none"}))
    build = build.save(changed(build.options, "match", {"sources": sources, **options}))
    from data_prep.imagenot.stages import classes

    classes.run(build)
    build.check_fingerprint("match")
    return build


def test_filters_and_counts(tmp_path: Path) -> None:
    table = rows(
        ["an apple", "APPLES!", None, "an apple", "an apple", "pineapple", "animal fruit", "apple", "apple", "apple"],
        URL=["http://a.b/1"] * 7 + ["file:///etc/passwd", "http://a.b/2", "http://a.b/3"],
        NSFW=["UNLIKELY"] * 3 + ["NSFW", None] + ["UNLIKELY"] * 5,
        WIDTH=[400] * 8 + [100, 2000],
    )
    source = tmp_path / "it's\na shard.parquet"
    table.write_parquet(source)
    build = a_build(tmp_path, [str(source)], batch_rows=4)
    match.run(build, "00000")
    assert build.counts("match", "00000") == {
        "rows": 10, "broken": 2, "unsafe": 2, "language": 0, "small": 1, "aspect": 1,
        "no_class": 1, "several": 1, "matched": 2,
    }  # fmt: skip
    found = pl.read_parquet(build.room("match") / "00000.parquet")
    assert found["id"].to_list() == ["00000-0000000000", "00000-0000000001"]
    assert found["class"].to_list() == ["n07739125"] * 2
    assert found["sample_id"].to_list() == ["1000000000", "1000000007"]


def test_releases_name_their_columns_differently(tmp_path: Path) -> None:
    one = rows(["an apple"] * 3)
    two = one.drop("NSFW", "LICENSE").rename({"URL": "url", "TEXT": "caption", "SAMPLE_ID": "id"})
    two = two.with_columns(punsafe=pl.Series([0.1, 0.9, None]), LANGUAGE=pl.Series(["en", "en", "de"]))
    one.write_parquet(tmp_path / "one.parquet")
    two.write_parquet(tmp_path / "two.parquet")
    build = a_build(tmp_path, [str(tmp_path / "one.parquet"), str(tmp_path / "two.parquet")])
    match.run(build, "00000")
    match.run(build, "00001")
    assert build.counts("match", "00000")["matched"] == 3
    assert build.counts("match", "00001")["matched"] == 1
    assert build.counts("match", "00001")["unsafe"] == 2


def test_a_batch_without_any_tag_is_no_file_without_tags(tmp_path: Path) -> None:
    tags = {"NSFW": ["UNLIKELY", None, "UNLIKELY"], "LANGUAGE": ["en", "en", None], "WIDTH": [400, 400, None]}
    rows(["an apple"] * 3, **tags).write_parquet(tmp_path / "a.parquet")
    build = a_build(tmp_path, [str(tmp_path / "a.parquet")], batch_rows=1)
    match.run(build, "00000")
    counts = build.counts("match", "00000")
    assert (counts["unsafe"], counts["language"], counts["matched"]) == (1, 1, 1)


def test_missing_columns_are_named() -> None:
    with pytest.raises(ToolkitError, match=r"x\.parquet has no column text or caption \(it has URL, WIDTH\)"):
        find_columns("x.parquet", ["URL", "WIDTH"])


def test_no_safety_column(tmp_path: Path) -> None:
    rows(["an apple"]).drop("NSFW").write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ToolkitError, match="neither NSFW nor punsafe"):
        match.run(a_build(tmp_path, [str(tmp_path / "a.parquet")]), "00000")
    build = a_build(tmp_path, [str(tmp_path / "a.parquet")], safe=[], max_punsafe=1)
    match.run(build, "00000")
    assert build.counts("match", "00000")["matched"] == 1


def test_empty_shards_are_fine(tmp_path: Path) -> None:
    rows([]).write_parquet(tmp_path / "a.parquet")
    build = a_build(tmp_path, [str(tmp_path / "a.parquet")])
    match.run(build, "00000")
    assert build.counts("match", "00000")["rows"] == 0
    assert pl.read_parquet(build.room("match") / "00000.parquet").is_empty()


@pytest.mark.parametrize("damage", ["truncated", "text", "gone"])
def test_damaged_files_are_named_and_leave_nothing(tmp_path: Path, damage: str) -> None:
    source = tmp_path / "a.parquet"
    rows(["an apple"] * 5000).write_parquet(source, row_group_size=1000)
    build = a_build(tmp_path, [str(source)])
    content = source.read_bytes()
    source.unlink() if damage == "gone" else source.write_bytes(content[:9000] if damage == "truncated" else b"no")
    with pytest.raises(ToolkitError, match=r"a\.parquet cannot be read .*finished shards stay"):
        match.run(build, "00000")
    assert not list(build.room("match").glob("*00000*"))


def test_sources(tmp_path: Path) -> None:
    for name in ("b.parquet", "a.parquet", "note.txt"):
        (tmp_path / name).touch()
    expected = [f"file://{tmp_path}/a.parquet", f"file://{tmp_path}/b.parquet"]
    assert find_sources([str(tmp_path)]) == find_sources([f"{tmp_path}/*.parquet"]) == expected
    import fsspec

    with fsspec.open("memory://part/x.parquet", "wb") as file:
        rows(["an apple"]).write_parquet(file)
    assert find_sources(["memory://part"]) == ["memory:///part/x.parquet"]
    build = a_build(tmp_path, find_sources(["memory://part/x.parquet"]))
    match.run(build, "00000")
    assert build.counts("match", "00000")["matched"] == 1
    for wrong in (str(tmp_path / "none*.parquet"), "nosuch://a/b"):
        with pytest.raises(UsageError, match="--source"):
            find_sources([wrong])


def test_options_of_the_stage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean min_side"):
        changed(Options(), "match", {"min_sied": 3})
    with pytest.raises(UsageError, match="max_aspect"):
        changed(Options(), "match", {"max_aspect": "wide"})
    assert Match().safe == ("UNLIKELY",)
