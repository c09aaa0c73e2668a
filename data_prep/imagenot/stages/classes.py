"""Stage classes: wnids to names, lemmas and definitions; or a pool of new nouns to choose classes from."""

import hashlib
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path

from data_prep.imagenot import options
from data_prep.imagenot.build import Build, Counts
from data_prep.wordnet import Synset, WordNet
from toolkit.errors import UsageError
from toolkit.study.model import FrozenModel
from toolkit.texts import read_text


class Class(FrozenModel):
    """A class: a noun synset."""

    wnid: str
    lemmas: tuple[str, ...]
    definition: str

    @property
    def name(self) -> str:
        """The first lemma."""
        return self.lemmas[0]


class ClassList(FrozenModel):
    """The document ``classes/classes.json``, in the order of the labels."""

    classes: tuple[Class, ...]


def run(build: Build) -> Counts:
    """Look the classes up and write them."""
    section = build.options.classes
    synsets = find_classes(section, WordNet(Path(section.wordnet)))
    classes = ClassList(classes=tuple(Class(wnid=s.wnid, lemmas=s.lemmas, definition=s.definition) for s in synsets))
    build.reset_stage("classes")
    classes.write(build.room("classes") / "classes.json")
    return {"classes": len(synsets), "lemmas": sum(len(s.lemmas) for s in synsets)}


def load(build: Build) -> tuple[Class, ...]:
    """The build's classes."""
    return ClassList.read(build.need("classes", "classes.json")).classes


def find_classes(section: options.Classes, wordnet: WordNet) -> list[Synset]:
    """The synsets of the listed or drawn classes.

    Raises `UsageError` for a wnid that is no noun synset, stands twice, or is among the excluded ones.
    """
    excluded = read_wnids(section.exclude) if section.exclude != "none" else []
    if section.pool:
        return draw_pool(wordnet, excluded, section.pool, section.seed)
    wnids = read_wnids(section.wnids)
    if both := sorted(set(wnids) & set(excluded)):
        raise UsageError(f"{section.wnids}: {len(both)} wnids are excluded ones ({section.exclude}), such as {both[0]}")
    try:
        return [wordnet.synset(wnid) for wnid in wnids]
    except UsageError as error:
        raise UsageError(f"{section.wnids}: {error}; take it out, or correct it") from error


def read_wnids(source: str) -> list[str]:
    """The wnids of a shipped list ('imagenot', 'imagenet') or of a file, one a line."""
    shipped = files("data_prep.imagenot") / f"{source}_wnids.txt"
    try:
        text = shipped.read_text() if source in ("imagenot", "imagenet") else read_text(source)
    except UsageError as error:
        raise UsageError(f"{source} is no list of wnids ({error}); give imagenot, imagenet or a text file") from error
    wnids = text.split()
    if not wnids:
        raise UsageError(f"{source} holds no wnids")
    if len(set(wnids)) < len(wnids):
        twice = next(wnid for number, wnid in enumerate(wnids) if wnid in wnids[:number])
        raise UsageError(f"{source} lists {twice} twice")
    return wnids


def draw_pool(wordnet: WordNet, excluded: Collection[str], count: int, seed: int) -> list[Synset]:
    """``count`` noun synsets of which none is, or is above or below, an excluded one; seeded, in wnid order."""
    synsets = {synset.wnid: synset for synset in wordnet.synsets()}
    above = {wnid: _ancestors(wnid, synsets) for wnid in synsets}
    taken = set(excluded).union(*(above.get(wnid, set()) for wnid in excluded))
    apart = [wnid for wnid in synsets if wnid not in taken and above[wnid].isdisjoint(excluded)]
    if len(apart) < count:
        raise UsageError(f"only {len(apart)} nouns lie apart from the excluded ones, {count} are asked for")
    return [synsets[wnid] for wnid in draw(apart, count, seed)]


def draw(wnids: Collection[str], count: int, seed: int) -> list[str]:
    """``count`` of the wnids, sorted; which ones depends on the seed and the wnids alone."""
    return sorted(sorted(wnids, key=lambda wnid: hashlib.sha256(f"{seed}/{wnid}".encode()).digest())[:count])


def _ancestors(wnid: str, synsets: dict[str, Synset]) -> set[str]:
    found: set[str] = set()
    todo = [wnid]
    while todo:
        new = set(synsets[todo.pop()].hypernyms) - found
        found |= new
        todo += new
    return found
