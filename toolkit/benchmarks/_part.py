"""A part of a long measurement: its share of the time, and its file, rewritten after every row."""

import json
import time
from pathlib import Path
from typing import Any

from toolkit.files import write_atomic


class Part:
    """Rows of one part, in ``folder``/NAME.json; false once its seconds would not do for a row like the longest."""

    def __init__(self, name: str, folder: Path, seconds: float, about: dict[str, Any]) -> None:
        self.path, self.document = folder / f"{name}.json", {"part": name, **about, "rows": []}
        self._began = self._last = time.monotonic()
        self._longest, self._seconds = 0.0, seconds

    def __bool__(self) -> bool:
        """Whether there is time for another row; asked when there would be one, so a no is kept in the file."""
        if over := time.monotonic() - self._began + self._longest >= self._seconds:
            self.document["cut"] = True
        return not over

    def add(self, **row: Any) -> None:
        """One more row, on disk before the next is measured: what ends the process later does not take it."""
        self.document["rows"].append(row)
        now = time.monotonic()
        self._longest, self._last = max(self._longest, now - self._last), now
        self.close()

    def close(self, error: str = "") -> None:
        """Write the file. ``error``: what ended the part before its time."""
        told = {"error": error} if error else {}
        self.document |= {"seconds": round(time.monotonic() - self._began, 2), **told}
        write_atomic(self.path, json.dumps(self.document, indent=1).encode())
