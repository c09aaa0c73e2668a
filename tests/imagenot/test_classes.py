"""Classes, against WordNet's real files."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_prep.imagenot.__main__ import main
from data_prep.imagenot.build import Build
from data_prep.imagenot.lemmas import phrases, with_plurals, words
from data_prep.imagenot.options import Classes, Match, Options, changed
from data_prep.imagenot.stages.classes import Class, draw, draw_pool, find_classes, read_wnids
from data_prep.wordnet import WordNet
from tests.imagenot.laion import IMAGENOT, WORDNET
from toolkit.errors import UsageError


def test_imagenot_is_1000_nouns_apart_from_imagenet() -> None:
    assert len({synset.wnid for synset in IMAGENOT}) == 1000
    assert all(synset.lemmas and synset.definition for synset in IMAGENOT)
    assert not {synset.wnid for synset in IMAGENOT} & set(read_wnids("imagenet"))


def test_a_known_synset() -> None:
    dog = WORDNET.synset("n02084071")
    assert dog.lemmas == ("dog", "domestic dog", "Canis familiaris")
    assert dog.definition.startswith("a member of the genus Canis")
    assert "barked" not in dog.definition
    assert set(dog.hypernyms) == {"n02083346", "n01317541"}


@pytest.mark.parametrize("wnid", ["n02084072", "n99999999", "dog", "v00001740", "n00000000", "n01"])
def test_what_is_no_noun_synset_is_named(wnid: str) -> None:
    with pytest.raises(UsageError, match=f"'{wnid}' is no noun synset"):
        WORDNET.synset(wnid)


def test_lists_that_cannot_be(tmp_path: Path) -> None:
    listing = tmp_path / "odd 'list'.txt"
    listing.write_text("n02084071 n02084071")
    with pytest.raises(UsageError, match="lists n02084071 twice"):
        read_wnids(str(listing))
    listing.write_text(read_wnids("imagenet")[5])
    with pytest.raises(UsageError, match="1 wnids are excluded"):
        find_classes(Classes(wnids=str(listing)), WORDNET)
    listing.write_text("n02084071 n02084072")
    with pytest.raises(UsageError, match=r"odd 'list'\.txt: 'n02084072' is no noun synset .*; take it out"):
        find_classes(Classes(wnids=str(listing), exclude="none"), WORDNET)
    with pytest.raises(UsageError, match="no list of wnids"):
        read_wnids(str(tmp_path / "none"))
    with pytest.raises(UsageError, match="install WordNet"):
        WordNet(tmp_path)


def test_pool_is_seeded_and_lies_apart() -> None:
    dog, canine, poodle = "n02084071", "n02083346", "n02113335"
    with pytest.raises(UsageError, match="only 81911 nouns lie apart"):
        draw_pool(WORDNET, [dog], 82115, 0)
    pool = [synset.wnid for synset in draw_pool(WORDNET, [dog], 81911, 0)]
    assert pool == sorted(pool) and not {dog, canine, poodle} & set(pool)
    assert draw(pool, 100, 1) == draw(pool[::-1], 100, 1) != draw(pool, 100, 2)


def test_plurals() -> None:
    irregular = WORDNET.plurals()
    assert set(with_plurals(("mouse",), irregular)) == {("mouse",), ("mouses",), ("mice",)}
    assert ("prairie", "wolves") in set(with_plurals(("prairie", "wolf"), irregular))
    known = {phrase for each in IMAGENOT for lemma in each.lemmas for phrase in with_plurals(words(lemma), irregular)}
    assert {("diptychs",), ("triptychs",), ("headscarves",), ("wristwatches",), ("bookshelves",)} < known


def test_words() -> None:
    assert words("Ｆｕｌｌ-width O'Neil_x") == ("full", "width", "o", "neil", "x")
    assert words("a ❤\ufe0fdog\ufe0e, \u0301cat LEGO™ cafe\u0301") == ("a", "dog", "cat", "lego", "café")


def test_short_lemmas_are_not_looked_for_but_where_the_class_is_excepted() -> None:
    classes = [Class(wnid="n1", lemmas=("TV", "telly"), definition=""), Class(wnid="n2", lemmas=("LP",), definition="")]
    assert set(phrases(classes, {}, Match(any_length=()))) == {("telly",), ("tellies",)}
    assert {("lp",), ("lps",)} < set(phrases(classes, {}, Match(any_length=("n2",))))


@pytest.mark.parametrize(
    ("changes", "empty"),
    [
        ({}, ["n07626174 (apple pie)"]),  # every caption of it is one of apple too
        ({"any_length": []}, ["n07626174 (apple pie)", "n03694639 (LP, L-P)"]),
        ({"rule": "laionet"}, ["n07626174 (apple pie)"]),
    ],
)
def test_classes_that_stay_empty_are_named(
    tmp_path: Path, changes: dict[str, Any], empty: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wnids.txt").write_text("n07739125\nn07626174\nn03694639")  # apple, apple pie, LP
    options = changed(Options(), "match", changes)
    Build(tmp_path / "build", options).save(options)
    assert main(["classes", str(tmp_path / "build"), "--set", f"wnids={tmp_path / 'wnids.txt'}", "--json"]) == 0
    named = json.loads(capsys.readouterr().out)["empty"]
    assert [line.partition(" will stay empty")[0] for line in named] == empty


def test_imagenots_classes_can_all_be_filled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classes", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "classes: classes 1,000, lemmas 1,866\n"
