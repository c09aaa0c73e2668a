"""Finds phrases in captions with an automaton of Aho and Corasick (1975), walked by compiled code.

All phrases are one tree, letter by letter. A table tells for every node and letter where to go on, the longest end of
what was read that may still become a phrase: so a caption is read once, letter by letter, whatever the phrases. A
letter is a class of characters: those between words are one, those in no phrase another.
"""

import string
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.imagenot.lemmas import NONE, SEPARATE, SEVERAL, UNSEEN, Phrase
from toolkit.compiled import compiled

UNREAD = -3
"""What stands for a caption that one pass over its characters does not tell, beside `NONE` and `SEVERAL`."""
GAP, OTHER, SKIP, STOP = range(4)
"""Letters beside those of phrases: between words; in words, but in no phrase; passed over; and what a character by
itself does not tell, because the next one may change it or it stands for several."""
Numbers = NDArray[np.int32]
Letters = NDArray[np.uint16]


class Automaton(NamedTuple):
    """Nodes are numbered in steps of the number of letters, those where a phrase ends last."""

    moves: Numbers
    """At node + letter: the next node."""
    ends: int
    """The first node where a phrase ends."""
    labels: Numbers
    """From there on: the label that the phrases ending there stand for, or `SEVERAL`."""
    letters: int


class Matcher:
    """Finds the phrases of a table in captions, which a rule cuts into words."""

    def __init__(self, table: Mapping[Phrase, set[int]], rule: Literal["laionet", "broad"]) -> None:
        """``table``: the labels that each phrase stands for."""
        characters = sorted(set("".join(word for phrase in table for word in phrase)))
        letter = {character: number for number, character in enumerate(characters, STOP + 1)}
        self._rule = rule
        self._automaton = _automaton(table, letter, adjacent=rule == "laionet")
        gaps = string.punctuation + " " if rule == "laionet" else NO_WORD
        self._plain = _plain_letters(letter, gaps)
        self._first = self._plain if rule == "laionet" else _broad_letters(self._plain)

    def __call__(self, captions: pl.Series) -> Numbers:
        """The label of the class whose phrases each caption holds, `NONE`, or `SEVERAL`: (n,). No caption is null."""
        found = self._walk(captions, self._first)
        unread = np.flatnonzero(found == UNREAD)
        if len(unread):
            found[unread] = self._walk(_plain(captions.gather(unread)), self._plain)
        return found

    def _walk(self, captions: pl.Series, letters: Letters) -> Numbers:
        found = np.empty(len(captions), np.int32)
        text, starts = _buffers(captions)
        _walk(text, starts, letters, self._automaton, found)
        return found


def _buffers(captions: pl.Series) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of all captions, and where each begins and the last one ends."""
    array = captions.to_arrow()
    _, starts, text = array.buffers()
    places = np.frombuffer(starts, np.int64)[array.offset : array.offset + len(array) + 1]
    return np.frombuffer(text or b"\0", np.uint8), places


NO_WORD = "".join(character for character in map(chr, range(128)) if not character.isalnum())
CHARACTERS, LIKELY = 0x110000, 0x20000
"""How many Unicode has, and how many of them are looked at one by one: those beyond, rare, are `STOP` at first."""


def _plain_letters(letter: Mapping[str, int], gaps: str) -> Letters:
    """The letter of every character, where those in ``gaps`` alone are between words."""
    table = np.full(CHARACTERS, OTHER, np.uint16)
    table[[ord(character) for character in letter]] = list(letter.values())
    table[[ord(gap) for gap in gaps]] = GAP
    return table


def _broad_letters(plain: Letters) -> Letters:
    """The letter of every character as a caption has it, by the rule of `lemmas.words`."""
    kind, form = _characters()
    table = np.full(CHARACTERS, STOP, np.uint16)
    table[:LIKELY] = np.where(kind == OTHER, plain[form], kind)
    return table


@lru_cache(maxsize=1)
def _characters() -> tuple[Letters, NDArray[np.uint32]]:
    """Whether each character is of a word, between words, passed over or open, and which one NFKC and case make it."""
    numbers = [number for number in range(LIKELY) if not 0xD800 <= number < 0xE000]  # without surrogates
    given = pl.Series(map(chr, numbers), dtype=pl.String)
    plain = given.str.replace(SEPARATE, " ").str.normalize("NFKC").str.to_lowercase()
    # Sigma's small form and the letters of Korean syllables depend on what follows.
    is_open = ((plain == "σ") & (given != "σ")) | given.str.contains(r"[\u1100-\u11ff]")
    kind, form = np.full(LIKELY, STOP, np.uint16), np.zeros(LIKELY, np.uint32)
    kind[numbers] = (
        pl.select(
            pl.when(given.str.contains(UNSEEN)).then(SKIP)
            .when(is_open).then(STOP)
            .when(plain.str.contains(r"^[\p{L}\p{N}]$")).then(OTHER)
            .when(plain.str.contains(r"^[^\p{L}\p{M}\p{N}]+$")).then(GAP)
            .otherwise(STOP)
        ).to_series()
    )  # fmt: skip
    form[numbers] = [ord(character) for character in plain.str.head(1)]
    return kind, form


def _plain(captions: pl.Series) -> pl.Series:
    """Captions in which every character that is not ASCII belongs to a word, by the rule of `lemmas.words`."""
    seen = captions.str.replace_all(UNSEEN, "").str.replace_all(SEPARATE, " ").str.normalize("NFKC").str.to_lowercase()
    return seen.str.replace_all(r"^\p{M}+|[^\p{L}\p{M}\p{N}]+\p{M}*", " ")


def _automaton(table: Mapping[Phrase, set[int]], letter: Mapping[str, int], adjacent: bool) -> Automaton:
    """The automaton of all phrases, a gap before, between and after their words.

    ``adjacent``: two gaps are more than one; otherwise any number of them is as good as one.
    """
    children, labels = _tree(table, letter)
    moves = np.zeros((len(children), STOP + 1 + len(letter)), np.int32)
    found = np.full(len(children), NONE, np.int32)
    # Of each node: the one of the longest end of what was read that is a beginning too, where a search goes on.
    shorter = np.zeros(len(children), np.int32)
    order = [0]
    for node in order:  # it grows: shorter nodes before longer ones, so that the row of ``shorter`` is there
        moves[node] = moves[shorter[node]]
        found[node] = _both(labels.get(node, NONE), found[shorter[node]])
        for n, child in children[node].items():
            shorter[child] = moves[shorter[node], n] if node else 0
            moves[node, n] = child
            order.append(child)
        moves[node, SKIP] = node
    if not adjacent:
        after_gap = np.array([node[GAP] for node in children if GAP in node])
        moves[after_gap, GAP] = after_gap
    return _ends_last(moves, found)


def _tree(table: Mapping[Phrase, set[int]], letter: Mapping[str, int]) -> tuple[list[dict[int, int]], dict[int, int]]:
    """The children of every node by letter, the root first, and what the phrases stand for, by their last node."""
    children: list[dict[int, int]] = [{GAP: 1}, {}]
    labels = {}
    for phrase, of in table.items():
        node = 1
        for n in (n for word in phrase for n in (*(letter[character] for character in word), GAP)):
            if n not in children[node]:
                children[node][n] = len(children)
                children.append({})
            node = children[node][n]
        labels[node] = min(of) if len(of) == 1 else SEVERAL
    return children, labels


def _ends_last(moves: Numbers, found: Numbers) -> Automaton:
    order = np.argsort(found != NONE, kind="stable")
    place = np.argsort(order).astype(np.int32)
    ends = int(np.count_nonzero(found == NONE))
    letters = moves.shape[1]
    return Automaton((place[moves[order]] * letters).ravel(), ends * letters, found[order][ends:], letters)


@compiled
def _both(one: int, other: int) -> int:
    """What two phrases of a caption stand for together."""
    if one == NONE:
        return other
    if other == NONE:
        return one
    return one if one == other else SEVERAL


@compiled
def _letter(text: NDArray[np.uint8], at: int, letters: Letters) -> tuple[int, int]:
    """The letter of the UTF-8 character at ``at``, which is not ASCII, and where the next one begins."""
    lead = int(text[at])
    size = 2 + (lead >= 0xE0) + (lead >= 0xF0)
    number = lead & (0x7F >> size)
    for i in range(at + 1, at + size):
        number = (number << 6) | (text[i] & 0x3F)
    return letters[number], at + size


@compiled
def _read(
    text: NDArray[np.uint8], at: int, end: int, letters: Letters, moves: Numbers, ends: int, labels: Numbers, width: int
) -> int:
    """What the caption ``text[at:end]`` stands for."""
    found = NONE
    node = moves[GAP]
    while at <= end:
        if at == end:  # its last word ends here
            letter, at = GAP, at + 1
        elif text[at] < 128:
            letter, at = letters[text[at]], at + 1
        else:
            letter, at = _letter(text, at, letters)
            if letter == STOP:
                return UNREAD
        node = moves[node + letter]
        if node >= ends:
            found = _both(found, labels[(node - ends) // width])
            if found == SEVERAL:
                return SEVERAL
    return found


@compiled
def _walk(
    text: NDArray[np.uint8], starts: NDArray[np.int64], letters: Letters, automaton: Automaton, found: Numbers
) -> None:
    moves, ends, labels, width = automaton
    for row in range(len(found)):
        found[row] = _read(text, starts[row], starts[row + 1], letters, moves, ends, labels, width)
