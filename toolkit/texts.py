"""Text files that users name: read whole, or refused in one line."""

from pathlib import Path

from toolkit.errors import UsageError
from toolkit.files import read_regular


def read_text(path: str | Path) -> str:
    """The text of a regular file in UTF-8, with a byte order mark or without. Raises `UsageError` when it is none."""
    try:
        return read_regular(path).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no readable UTF-8 text (byte {error.start}): save it as UTF-8") from error
