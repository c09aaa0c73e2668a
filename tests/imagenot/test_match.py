"""Matching: the vectorised matcher against a plain reading of the rule, the filters, and LAION's schemas."""

import random
import shutil
import string
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.imagenot.__main__ import main
from data_prep.imagenot.build import Build
from data_prep.imagenot.laion import find_columns, find_sources
from data_prep.imagenot.lemmas import NONE, SEVERAL, Phrase, phrases, words
from data_prep.imagenot.matcher import Matcher
from data_prep.imagenot.options import Match, Options, changed
from data_prep.imagenot.stages import match
from data_prep.imagenot.stages.classes import Class
from tests.benchmarks.match import aho_corasick, dictionary
from tests.imagenot.laion import IMAGENOT, rows
from toolkit.errors import ToolkitError, UsageError

WORDS = st.sampled_from(["dog", "hot", "house", "cat", "s", "été", "ﬁn", "犬", "Σας"])
PHRASES = st.lists(WORDS, min_size=1, max_size=3).map(lambda parts: words(" ".join(parts)))
TABLES = st.dictionaries(PHRASES, st.sets(st.integers(0, 4), min_size=1, max_size=2), min_size=1, max_size=6)
BETWEEN = ["DOG", "dogs", "-", "_", "’", "É", "🐕", "", "❤\ufe0f", "\ufe0f", "e\u0301", "\u0301", "™", "\n", "1\u20e3"]
CAPTIONS = st.lists(
    st.lists(st.one_of(WORDS, st.sampled_from(BETWEEN)), max_size=6).flatmap(
        lambda parts: st.sampled_from(["", " "]).map(lambda gap: gap.join(parts))
    )
    | st.text(max_size=8)
)
CLASSES = [Class(wnid=s.wnid, lemmas=s.lemmas, definition=s.definition) for s in IMAGENOT]


def plain(captions: list[str], table: dict[Phrase, set[int]]) -> list[int]:
    """What each caption stands for by the broad rule, word by word."""
    found = []
    for caption in captions:
        text = words(caption)
        runs = {text[i:j] for i in range(len(text)) for j in range(i + 1, len(text) + 1)}
        found.append(answer(set[int]().union(*(table.get(run, set()) for run in runs))))
    return found


def answer(labels: set[int]) -> int:
    return min(labels) if len(labels) == 1 else SEVERAL if labels else NONE


@settings(max_examples=80)
@given(CAPTIONS, TABLES)
def test_matcher_is_the_broad_rule(captions: list[str], table: dict[Phrase, set[int]]) -> None:
    assert Matcher(table, "broad")(pl.Series(captions, dtype=pl.String)).tolist() == plain(captions, table)


def laionet(captions: Iterable[str], classes: Sequence[Sequence[str]]) -> list[int]:
    """What each caption stands for by LAIONet's rule: a lemma of one class alone, as a piece of the caption's text.

    ASCII punctuation is a space, and a space is on either side of both; nothing else is changed.
    """
    spaces = dict.fromkeys(map(ord, string.punctuation), " ")
    times = Counter(lemma for lemmas in classes for lemma in lemmas)
    beginning = defaultdict(list)
    for label, lemmas in enumerate(classes):
        for lemma in lemmas:
            if times[lemma] == 1:
                beginning[lemma.split(" ")[0]].append((f" {lemma} ", label))
    found = []
    for caption in captions:
        text = f" {caption.translate(spaces)} "
        pieces = (piece for word in set(text.split(" ")) & beginning.keys() for piece in beginning[word])
        found.append(answer({label for piece, label in pieces if piece in text}))
    return found


LEMMAS = st.lists(
    st.sampled_from(["dog", "hot dog", "Dog", "dog house", "T-shirt", "hot", "été"]), min_size=1, max_size=3
)


@settings(max_examples=80)
@given(CAPTIONS, st.lists(LEMMAS, min_size=1, max_size=4))
def test_matcher_is_laionets_rule(captions: list[str], lemmas: list[list[str]]) -> None:
    classes = [Class(wnid=f"n{i}", lemmas=tuple(of), definition="") for i, of in enumerate(lemmas)]
    matcher = Matcher(phrases(classes, {}, Match(rule="laionet")), "laionet")
    assert matcher(pl.Series(captions, dtype=pl.String)).tolist() == laionet(captions, lemmas)


HARD = (
    "{a}", "{A}", "{T}", "{a}s", "{a}'s", "{a}’s", "the {a}.", "x{a}", "{a}x", "{a}\n", "\t{a}", "{a}é",
    "({a})", "  {a}", "{g}", "{g} {a}", "{a} {b}", "{a}-{b}", "{b}, {T}", "{a} {a2}", "{a2}/{A}",
    "[{b}] {g}", "_{a}_", "{a}\u00a0{b}", "",
)  # fmt: skip
"""Captions around a lemma ``a``, another ``a2`` of its class, one ``b`` of another class, and its gloss ``g``."""


def hard_captions(n: int) -> Iterator[str]:
    """Captions around all lemmas in turn; one in three has a lemma's words apart by something else than a space."""
    rng = random.Random(0)
    for number in range(n):
        own, other = IMAGENOT[number % 1000], rng.choice(IMAGENOT)
        a, a2, b = rng.choice(own.lemmas), rng.choice(own.lemmas), rng.choice(other.lemmas)
        caption = HARD[number // 1000 % len(HARD)].format(
            a=a, A=a.upper(), T=a.title(), a2=a2, b=b, g=own.definition[: rng.randrange(60)]
        )
        yield caption.replace(" ", rng.choice(["-", "  ", ", ", "\n"])) if number % 3 == 0 else caption


def test_quarter_of_a_million_captions_by_laionets_rule() -> None:
    captions = list(hard_captions(250_000))
    matcher = Matcher(phrases(CLASSES, {}, Match(rule="laionet")), "laionet")
    found = matcher(pl.Series(captions)).tolist()
    assert found == laionet(captions, [each.lemmas for each in CLASSES])
    kinds = Counter("one" if label >= 0 else label for label in found)
    assert min(kinds.values()) > 20_000  # each of the three answers was put to the test


def test_rules_differ_where_the_docs_say() -> None:
    lemmas = [("apple",), ("hot dog", "frank"), ("Frank", "T-shirt")]
    classes = [Class(wnid=f"n{i}", lemmas=of, definition="") for i, of in enumerate(lemmas)]
    captions = pl.Series(["Apple", "two apples", "hot-dog", "hot, dog", "frank", "T-shirt", "an apple’s core"])
    found = {
        rule: Matcher(phrases(classes, {}, Match(rule=rule)), rule)(captions).tolist() for rule in ("laionet", "broad")
    }
    assert found["laionet"] == [NONE, NONE, 1, NONE, 1, NONE, NONE]
    assert found["broad"] == [0, 0, 1, 1, SEVERAL, 2, 0]


@pytest.mark.parametrize("peer", [dictionary, aho_corasick])
def test_benchmark_peers_are_the_rule(peer: Callable[[list[str], dict[Phrase, set[int]]], dict[int, int]]) -> None:
    table = {("dog",): {0}, ("hot", "dog"): {1}, ("dog", "house"): {2}, ("cat",): {3}}
    captions = ["A Cat!", "hot dog", "dog-house", "dogma", "cat cat", "the_cat", "dog", "", "“Dog”’s – été"]
    assert peer(captions, table) == {row: label for row, label in enumerate(plain(captions, table)) if label >= 0}


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


def test_a_rule_sets_encoder_and_threshold_and_other_options_stay(tmp_path: Path) -> None:
    rows(["an apple", "Apples"]).write_parquet(tmp_path / "a.parquet")
    build = a_build(tmp_path, [], min_side=100)
    assert main(["match", str(build.path), "--source", str(tmp_path), "--rule", "laionet"]) == 0
    options = Build.open(build.path).options
    assert (options.match.rule, options.match.min_side) == ("laionet", 100)
    assert (options.score.model, options.select.threshold) == ("sentence-transformers/clip-ViT-B-32", 0.82)
    assert build.counts("match", "00000")["matched"] == 1
    with pytest.raises(UsageError, match="was made with other options"):
        main(["match", str(build.path), "--rule", "broad"])


def test_a_build_of_version_0_1_opens_and_is_not_matched_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(Path(__file__).parents[1] / "fixtures" / "v0_1" / "build.tar.xz") as tar:
        tar.extractall(tmp_path)
    build = tmp_path / "build-0.1"
    assert main(["status", str(build)]) == main(["match", str(build)]) == 0
    assert main(["select", str(build), "--set", "per_class=2", "--json"]) == 0
    assert '"selected": 4' in capsys.readouterr().out
    (build / "match" / "00000.json").unlink()  # as if a second file had been left to do
    with pytest.raises(ToolkitError, match=r"match was made by version 0\.1, whose rule is no more; what is finished"):
        main(["match", str(build)])
    shutil.rmtree(build / "match")
    with pytest.raises(UsageError, match="score was made with other options"):
        main(["score", str(build)])


def test_options_of_the_stage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean min_side"):
        changed(Options(), "match", {"min_sied": 3})
    with pytest.raises(UsageError, match="max_aspect"):
        changed(Options(), "match", {"max_aspect": "wide"})
    assert Match().safe == ("UNLIKELY",)
