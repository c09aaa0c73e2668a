"""What must not be fetched, or kept: a list of URLs, hashes of files and ids, one a line."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

from toolkit.errors import UsageError
from toolkit.files import read_regular

LARGEST = 1 << 32
"""Bytes of the largest file of entries (our choice: forty million URLs)."""
PHASH = "phash:"
BITS = re.compile(r"[0-9a-fA-F]{1,16}")
HEX = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{64}")


class Blocklist(NamedTuple):
    """Entries of one or more files, in the form in which they are compared."""

    entries: frozenset[str]

    @classmethod
    def read(cls, paths: Iterable[str | Path]) -> Self:
        """The entries of text files; lines that begin with # are comments. Raises `UsageError`."""
        found: set[str] = set()
        for path in paths:
            try:
                lines = read_regular(path, LARGEST).decode("utf-8-sig").splitlines()
            except (OSError, UnicodeError) as error:
                raise UsageError(f"the blocklist {path} cannot be read ({error})") from error
            for number, line in enumerate(map(str.strip, lines), 1):
                if line.startswith(PHASH) and not BITS.fullmatch(line.removeprefix(PHASH)):
                    raise UsageError(f"{path}, line {number}: {PHASH} is followed by at most 16 hexadecimal digits")
                if line and not line.startswith("#"):
                    found.add(_key(line))
        return cls(frozenset(found))

    @property
    def phashes(self) -> list[int]:
        """Perceptual hashes (64 bits) of images that were taken down."""
        return [int(entry.removeprefix(PHASH), 16) for entry in self.entries if entry.startswith(PHASH)]

    def names(self, *values: str | None) -> bool:
        """Whether any of an image's URL, hashes and ids is in the list."""
        return bool(self.entries) and any(_key(value) in self.entries for value in values if value)


def _key(entry: str) -> str:
    """Hashes whatever the case; URLs whatever the scheme, and whatever the case of their host.

    >>> _key("HTTPS://Example.org/A.jpg"), _key("D41D8CD98F00B204E9800998ECF8427E")
    ('example.org/A.jpg', 'd41d8cd98f00b204e9800998ecf8427e')
    """
    scheme, mark, rest = entry.partition("://")
    if mark and scheme.lower() in ("http", "https"):
        host, slash, path = rest.partition("/")
        return f"{host.lower()}{slash}{path}"
    return entry.lower() if HEX.fullmatch(entry) else entry
