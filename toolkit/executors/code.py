"""Which code a submission runs: a copy, kept in the study by its content, so that no change reaches a queued task.

A study's folder may be writable by others, so the copies lie in a folder that only their owner can write, and the batch
script looks at that folder before it runs anything in it.
"""

import hashlib
import os
import shlex
import shutil
from functools import cache
from pathlib import Path

from toolkit.cluster.container import CODE, Container
from toolkit.errors import ToolkitError
from toolkit.files import temporary_name
from toolkit.study import Study
from toolkit.training.provenance import REVISION, revision

PACKAGE = "toolkit"
DIGEST_LENGTH = 16
OTHERS = 0o022
"""Bits by which group and others may write."""


def snapshots(study: Study) -> Path:
    """``code/``: a copy of the package for each state of it that was submitted, named by its digest."""
    return study.path / "code"


@cache
def code_digest(root: Path = CODE) -> str:
    """Hex digits of the SHA-256 over names and bytes of the package's files; what Python compiled does not count."""
    found = hashlib.sha256()
    for path in sorted((root / PACKAGE).rglob("*")):
        if path.is_file() and path.parent.name != "__pycache__":
            content = path.read_bytes()
            found.update(f"{path.relative_to(root)}\0{len(content)}\0".encode() + content)
    return found.hexdigest()[:DIGEST_LENGTH]


def why_no_snapshot(study: Study) -> str:
    """Why this study can hold no code that this user runs; empty when it can."""
    folder = snapshots(study)
    if os.pathsep in str(folder.absolute()):
        return f"Python finds no code in a path with {os.pathsep!r}"
    if folder.exists() and (
        folder.is_symlink() or folder.stat().st_uid != os.getuid() or folder.stat().st_mode & OTHERS
    ):
        return f"{folder} is another user's, or others may write to it"
    return ""


def keep_code(study: Study) -> Path:
    """Copy the code that runs into the study, unless it is there. Raises `ToolkitError` when it cannot be written."""
    kept = snapshots(study) / code_digest()
    if kept.is_dir():
        return kept
    copy = temporary_name(kept)
    try:
        snapshots(study).mkdir(mode=0o755, exist_ok=True)
        snapshots(study).chmod(0o755)
        shutil.copytree(CODE / PACKAGE, copy / PACKAGE)  # with times, by which what is compiled beside it stays valid
        (copy / REVISION).write_text(revision() or "")
        for path in (copy, *copy.rglob("*")):
            path.chmod(path.stat().st_mode & ~OTHERS)
        if code_digest(copy) != code_digest():
            raise ToolkitError(f"{CODE} was changed while it was copied: launch again")
        copy.rename(kept)
    except OSError as error:
        raise ToolkitError(f"{kept} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return kept


def collect(study: Study, used: set[str]) -> None:
    """Remove the snapshots that nobody needs any more; the one that runs stays."""
    for path in others(study):
        if path.name not in used:
            shutil.rmtree(path, ignore_errors=True)


def others(study: Study) -> list[Path]:
    """Snapshots of other states of the code."""
    return [path for path in snapshots(study).glob("[!.]*") if path.name != code_digest() and path != CODE]


def guard(study: Study) -> str:
    """A line of the batch script: nothing is run out of a folder that others could have written to."""
    folder = shlex.quote(str(snapshots(study).absolute()))
    seen = f"find {folder} -maxdepth 0 -type d -user {os.getuid()} ! -perm /022"
    told = shlex.quote(f"error: {snapshots(study)} can be written by others: its code is not run; launch again")
    return f'[ -n "$({seen})" ] || {{ echo {told} >&2; exit {os.EX_NOPERM}; }}'


def with_snapshot(study: Study, container: Container, digest: str | None) -> tuple[Container, list[str]]:
    """``container`` with the snapshot ``digest`` in place of the checkout, and the batch script line that guards it."""
    if digest is None or why_no_snapshot(study):
        return container, []
    return container.with_code(snapshots(study).absolute() / digest), [guard(study)]


def check_code(digest: str | None) -> None:
    """Raise `ToolkitError` unless the code that runs is the one that was submitted."""
    if digest is not None and digest != code_digest():
        raise ToolkitError(
            f"the code in {CODE} has changed since this was submitted ({code_digest()}, not {digest}): launch "
            'again, or keep a copy of it for queued tasks (code = "snapshot" in the profile)'
        )
