"""Which phrases of a caption stand for which class: lemmas and their plurals, as sequences of words."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from data_prep.imagenot.stages.classes import Class

Phrase = tuple[str, ...]


def words(text: str) -> Phrase:
    """The words of a text: maximal runs of letters, marks and digits after NFKC, in lower case."""
    folded = unicodedata.normalize("NFKC", text).lower()
    return tuple("".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in folded).split())


def phrases(
    classes: Sequence[Class], irregular: Mapping[str, Sequence[str]], min_letters: int
) -> dict[Phrase, set[int]]:
    """Every phrase that is looked for, with the labels of the classes it stands for."""
    table: dict[Phrase, set[int]] = defaultdict(set)
    for label, each in enumerate(classes):
        for lemma in each.lemmas:
            if sum(map(str.isalpha, lemma)) >= min_letters:
                for phrase in with_plurals(words(lemma), irregular):
                    table[phrase].add(label)
    return dict(table)


def with_plurals(phrase: Phrase, irregular: Mapping[str, Sequence[str]]) -> Iterable[Phrase]:
    """The phrase, and the phrase with its last word in the plural."""
    *first, last = phrase
    whole = "_".join(phrase)
    yield phrase
    for plural in {*irregular.get(last, ()), regular_plural(last)}:
        yield (*first, plural)
    for plural in irregular.get(whole, ()):
        yield words(plural.replace("_", " "))


def regular_plural(noun: str) -> str:
    """The plural by the rules of spelling.

    >>> [regular_plural(noun) for noun in ("cat", "fox", "berry", "day")]
    ['cats', 'foxes', 'berries', 'days']
    """
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return noun + "es"
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + "s"
