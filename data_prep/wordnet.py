"""WordNet 3.0's noun files. A wnid is ``n`` and the eight digits of the synset's byte offset in ``data.noun``."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from toolkit.errors import ToolkitError, UsageError

WNID = re.compile(r"n\d{8}")


class Synset(NamedTuple):
    """A noun synset."""

    wnid: str
    lemmas: tuple[str, ...]
    """With spaces, as written (``Canis familiaris``)."""
    definition: str
    hypernyms: tuple[str, ...]
    """wnids of the synsets just above (``@`` and ``@i``)."""


class WordNet:
    """The dictionary's folder, opened."""

    def __init__(self, folder: Path) -> None:
        """Open ``folder``. Raises `UsageError` when it holds no WordNet 3.0."""
        self.path = folder / "data.noun"
        try:
            self._data = self.path.read_bytes()
        except OSError as error:
            raise UsageError(
                f"{self.path} cannot be read ({error.strerror}): install WordNet 3.0 (Debian: wordnet-base) or give "
                "--set wordnet=FOLDER to the stage classes"
            ) from error
        if b"WordNet 3.0 Copyright" not in self._data[:2000]:
            raise UsageError(f"{self.path} is not of WordNet 3.0, whose byte offsets the wnids are")

    def synset(self, wnid: str) -> Synset:
        """The synset ``wnid``. Raises `UsageError` when there is none."""
        start = int(wnid[1:]) if WNID.fullmatch(wnid) else -1
        if not self._data.startswith(f"{wnid[1:]} ".encode(), start) or self._data[start - 1 : start] != b"\n":
            raise UsageError(f"{wnid!r} is no noun synset of WordNet 3.0 ({self.path})")
        return _parse(self._data[start : self._data.index(b"\n", start)].decode())

    def synsets(self) -> Iterator[Synset]:
        """All noun synsets, in the file's order."""
        for line in self._data.decode().splitlines():
            if not line.startswith("  "):
                yield _parse(line)

    def plurals(self) -> dict[str, list[str]]:
        """Irregular plurals by singular, from ``noun.exc``."""
        plurals = defaultdict(list)
        try:
            lines = (self.path.parent / "noun.exc").read_text().splitlines()
        except OSError as error:
            raise ToolkitError(f"{self.path.parent / 'noun.exc'} cannot be read ({error.strerror})") from error
        for line in lines:
            plural, *singulars = line.split()
            for singular in singulars:
                plurals[singular].append(plural)
        return dict(plurals)


def _parse(line: str) -> Synset:
    data, _, gloss = line.partition(" | ")
    fields = data.split()
    words = int(fields[3], 16)
    pointers = fields[5 + 2 * words :]
    return Synset(
        wnid=f"n{fields[0]}",
        lemmas=tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * words : 2]),
        definition=gloss.split('; "')[0].strip(),
        hypernyms=tuple(f"n{pointers[i + 1]}" for i in range(0, len(pointers) - 3, 4) if pointers[i][0] == "@"),
    )
