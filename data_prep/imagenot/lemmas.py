"""Which phrases of a caption stand for which class, by one of two rules.

``laionet`` is the rule of LAIONet's public code; ``broad`` is ours, and finds more. docs/imagenot.md compares them.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from data_prep.imagenot.options import Match
from data_prep.imagenot.stages.classes import Class

Phrase = tuple[str, ...]
NONE, SEVERAL = -1, -2
"""What stands for a caption without any class, and for one with more than one, where a label stands for a class."""
Plurals = Mapping[str, Sequence[str]]
UNSEEN = "[\u180b-\u180d\u180f\u20dd-\u20e0\u20e2-\u20e4\ufe00-\ufe0f\U000e0100-\U000e01ef]"
"""Variation selectors and marks around a character: they say how it is drawn, not which word it belongs to."""

SEPARATE = "[™℠]"
"""Signs that NFKC would make letters of the word before."""


def words(text: str) -> Phrase:
    """The words of a text by the broad rule, after NFKC and in lower case.

    A word begins with a letter or digit, and goes on with letters, digits and marks. What is `UNSEEN` does not count.
    """
    folded = unicodedata.normalize("NFKC", re.sub(SEPARATE, " ", re.sub(UNSEEN, "", text))).lower()
    kept = " "
    for character in folded:
        kind = unicodedata.category(character)[0]
        kept += character if kind in "LN" or (kind == "M" and kept[-1] != " ") else " "
    return tuple(kept.split())


def phrases(classes: Sequence[Class], irregular: Plurals, section: Match) -> dict[Phrase, set[int]]:
    """Every phrase that is looked for, with the labels of the classes it stands for."""
    return _laionet(classes) if section.rule == "laionet" else _broad(classes, irregular, section)


def _laionet(classes: Sequence[Class]) -> dict[Phrase, set[int]]:
    """The lemmas as WordNet has them, but those that two classes share: a lemma with punctuation is in no caption."""
    shared = Counter(lemma for each in classes for lemma in each.lemmas)
    return {
        tuple(lemma.split(" ")): {label}
        for label, each in enumerate(classes)
        for lemma in each.lemmas
        if shared[lemma] == 1
    }


def _broad(classes: Sequence[Class], irregular: Plurals, section: Match) -> dict[Phrase, set[int]]:
    """The words of the lemmas that are long enough, and their plurals; what two classes share stands for both."""
    table: dict[Phrase, set[int]] = defaultdict(set)
    for label, each in enumerate(classes):
        letters = 1 if each.wnid in section.any_length else section.min_letters
        for lemma in each.lemmas:
            if sum(map(str.isalpha, lemma)) >= letters:
                for phrase in with_plurals(words(lemma), irregular):
                    table[phrase].add(label)
    return dict(table)


def with_plurals(phrase: Phrase, irregular: Plurals) -> Iterable[Phrase]:
    """The phrase, and the phrase with its last word in the plural."""
    *first, last = phrase
    yield phrase
    for plural in {*irregular.get(last, ()), *regular_plurals(last), *_like_its_end(last, irregular)}:
        yield (*first, plural)
    for plural in irregular.get("_".join(phrase), ()):
        yield words(plural.replace("_", " "))


def regular_plurals(noun: str) -> Sequence[str]:
    """The plural by the rules of spelling; two where the sound decides, which the letters do not tell.

    >>> [regular_plurals(noun) for noun in ("cat", "fox", "berry", "day", "diptych")]
    [['cats'], ['foxes'], ['berries'], ['days'], ['diptyches', 'diptychs']]
    """
    if noun.endswith("ch"):
        return [noun + "es", noun + "s"]
    if re.search(r"(s|x|z|sh)$", noun):
        return [noun + "es"]
    if re.search(r"[^aeiou]y$", noun):
        return [noun[:-1] + "ies"]
    return [noun + "s"]


def _like_its_end(noun: str, irregular: Plurals) -> Iterable[str]:
    """The plurals in -ves of a compound, as its second part has them: headscarf as scarf."""
    parts = (noun[start:] for start in range(1, len(noun) - 3))
    return (
        noun.removesuffix(part) + plural for part in parts for plural in irregular.get(part, ()) if plural[-3:] == "ves"
    )
