"""Where a result comes from: code, versions, machine, job."""

import os
import platform
import re
import socket
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import toolkit
from toolkit.cluster.image_file import DIGEST
from toolkit.files import read_regular

COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
REVISION = "REVISION"
"""File in a copy of the code that says the revision it was made from."""
PACKAGES = ("torch", "torchvision", "timm", "numpy", "opencv-python", "opencv-python-headless", "ffcv")


def job() -> str | None:
    """Slurm's job id, with the array index where there is one (``123_4``)."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ.get("SLURM_JOB_ID")


def job_restarts() -> int:
    """How often Slurm has requeued this job."""
    return int(os.environ.get("SLURM_RESTART_COUNT", 0))


def image_digest() -> str | None:
    """SHA-256 of the container image, as the launcher handed it in and `check_image` found it."""
    return os.environ.get(DIGEST)


@cache
def host() -> str:
    """This machine's name."""
    return socket.gethostname()


@cache
def versions() -> dict[str, str]:
    """Of Python and the packages that a number can depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def revision() -> str | None:
    """The git revision of the running code (``+dirty`` when changed since), or None outside of a repository.

    See `revision_of`.
    """
    return revision_of(Path(toolkit.__file__).resolve().parents[1])


def revision_of(root: Path) -> str | None:
    """The git revision of the work tree at ``root``; None when it is none.

    Without a git program, and where the repository is another user's, it is read from the repository's files, which
    don't tell about changes: git would run what that user's configuration names (a file system monitor, filters).
    """
    if (root / REVISION).is_file():
        return (root / REVISION).read_text().strip() or None
    if not (root / ".git").exists():
        return None
    if (root / ".git").stat().st_uid != os.getuid():
        return read_revision(root)
    try:
        return _git(root, "rev-parse", "HEAD") + ("+dirty" if _git(root, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return read_revision(root)


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def read_revision(root: Path) -> str | None:
    """The revision that the files of a git work tree at ``root`` name."""
    git = root / ".git"
    try:
        if git.is_file():
            git = root / _text(git).removeprefix("gitdir:").strip()
        head = _text(git / "HEAD")
        if head.startswith("ref: "):
            shared = git / _text(git / "commondir") if (git / "commondir").is_file() else git
            head = _resolve(shared, head.removeprefix("ref: ")) or ""
    except OSError:
        return None
    return head if COMMIT.fullmatch(head) else None  # a name may lead to any file of the user's


def _text(path: Path) -> str:
    return read_regular(path).decode(errors="replace").strip()


def _resolve(git: Path, ref: str) -> str | None:
    if (git / ref).is_file():
        return _text(git / ref)
    packed = _text(git / "packed-refs").splitlines() if (git / "packed-refs").is_file() else []
    return next((line.split()[0] for line in packed if line.endswith(" " + ref)), None)
