"""Classes, against WordNet's real files."""

from pathlib import Path

import pytest

from data_prep.imagenot.lemmas import phrases, with_plurals, words
from data_prep.imagenot.options import Classes
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
    assert words("Ｆｕｌｌ-width O'Neil_x") == ("full", "width", "o", "neil", "x")


def test_short_lemmas_are_not_looked_for() -> None:
    classes = [Class(wnid="n1", lemmas=("TV", "telly"), definition="")]
    assert set(phrases(classes, {}, 3)) == {("telly",), ("tellies",)}
