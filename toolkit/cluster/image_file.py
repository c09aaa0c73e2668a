"""Which Apptainer file a task runs in: told by the launcher, checked by the task.

The launcher hashes the file, and hands the hash into the image together with what `stat` said of the file. The file
is bound into the image under its own name, so the task sees what it runs in: as long as `stat` says the same, it is
what was hashed (a write or a rename sets the time of change, and nobody can set that back); else it is hashed again.
"""

import hashlib
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from toolkit.errors import ToolkitError

DIGEST, FILE, SEEN = "TOOLKIT_IMAGE_DIGEST", "TOOLKIT_IMAGE_FILE", "TOOLKIT_IMAGE_SEEN"
"""Variables of a task in an image. Docker and Podman start images by their digest, so it is all that is set there."""


def variables(image: Path) -> dict[str, str]:
    """What a task in the file ``image`` is told of it."""
    seen = _seen(image)
    return {DIGEST: _digest(image, seen), FILE: str(image), SEEN: seen}


def check_image(environment: Mapping[str, str] = os.environ) -> None:
    """Raise `ToolkitError` when the file that this process runs in is not the one that was launched."""
    launched, file = environment.get(DIGEST), environment.get(FILE)
    if not launched or not file:
        return
    try:
        seen = _seen(Path(file))
        same = seen == environment.get(SEEN) or _digest(Path(file), seen) == launched
    except OSError as error:
        raise ToolkitError(
            f"image {file} cannot be read ({error.strerror}): is it the one that was launched?"
        ) from error
    if not same:
        raise ToolkitError(f"image {file} is not the one that was launched ({launched[:19]}): launch again")


def _seen(image: Path) -> str:
    told = image.stat()
    return f"{told.st_ino} {told.st_size} {told.st_mtime_ns} {told.st_ctime_ns}"


@cache
def _digest(image: Path, _seen: str) -> str:
    with image.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
