"""Reads that end, and writes that are whole or not there.

A study's folder may be writable by others, or come out of a stranger's archive. So what is read must be a regular file
of a bounded size (a FIFO would wait for ever, a device never end), and what is appended to or locked is never opened
through a link, which could name any file of the user's.
"""

import errno
import gc
import os
import pwd
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LARGEST_RECORD = 64 << 20
"""Bytes of the largest JSON record that is read (our choice; a result of 1,000 epochs has 0.3 MB)."""
TEMPORARY = ".tmp-"  # the prefix of names that no reader opens


def temporary_name(path: Path) -> Path:
    """A name beside ``path``, unique to this process and call, that no reader of this project opens."""
    return path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}-{path.name}"[:250])


class NotRegular(OSError):
    """A FIFO, a device or a folder where a file is meant."""


def open_regular(path: str | Path, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file. Raises `NotRegular` for anything else, at once."""
    return _opened(path, flags)[0]


def _opened(path: str | Path, flags: int = os.O_RDONLY) -> tuple[int, int]:
    """The descriptor, and the file's size in bytes: two calls of the system, for a scan opens thousands."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    seen = os.fstat(descriptor)
    if not stat.S_ISREG(seen.st_mode):
        os.close(descriptor)
        raise NotRegular(errno.EINVAL, "it is no regular file", str(path))
    return descriptor, seen.st_size


@contextmanager
def regular(path: str | Path, flags: int = os.O_RDONLY) -> Iterator[tuple[int, int]]:
    """A descriptor of a regular file, and its size in bytes. Raises `NotRegular` for anything else."""
    descriptor, size = _opened(path, flags)
    try:
        yield descriptor, size
    finally:
        os.close(descriptor)


def read_regular(path: str | Path, limit: int = LARGEST_RECORD) -> bytes:
    """The bytes of a regular file. Raises `OSError` when it is none, or has more than ``limit`` bytes."""
    descriptor, size = _opened(path)  # not by `regular`, which takes a quarter of the time of a small file
    try:
        if size > limit:
            raise OSError(errno.EFBIG, f"its {size:,} bytes are over the limit of {limit:,}", str(path))
        content = os.read(descriptor, size)
        while len(content) < size and (more := os.read(descriptor, size - len(content))):
            content += more
        return content
    finally:
        os.close(descriptor)


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells a file that was read from one that came later: inode, size, time of change; None: it is not there."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_ino, seen.st_size, seen.st_mtime_ns


@contextmanager
def opened_folder(path: Path) -> Iterator[int]:
    """A descriptor of a folder, from which its entries are had without walking down the whole path for each."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no reference cycles meanwhile: of 100,000 records that all stay, that would take a third of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def read_end(path: str | Path, limit: int) -> bytes:
    """The last ``limit`` bytes of a regular file. Raises `OSError` when it is none."""
    with regular(path) as (descriptor, size):
        return os.pread(descriptor, limit, max(0, size - limit))


def open_own(path: Path, flags: int) -> int:
    """A descriptor of ``path``, made if need be. Raises `OSError` when its last part is a link."""
    fresh = not path.exists()
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    if fresh:
        share(path)
    return descriptor


def share(path: Path) -> None:
    """Let the group write what was just made, where its folder belongs to a group (is setgid), whatever the umask."""
    if path.parent.stat().st_mode & stat.S_ISGID:
        made = path.lstat().st_mode
        if stat.S_ISREG(made):
            path.chmod(stat.S_IMODE(made) | 0o060)
        elif stat.S_ISDIR(made):
            path.chmod(stat.S_IMODE(made) | 0o070 | stat.S_ISGID)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless they are there, with the rights of `share`. Raises `OSError`."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        share(path)


@contextmanager
def atomic(path: Path, shared: bool = True) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well, sync it and give it the name ``path``.

    When the block raises, the temporary file is removed and ``path`` is as it was. ``shared``: as `share` says.
    """
    temporary = temporary_name(path)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        if shared:
            share(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``; after a crash or a full disk the old file or the new one is there, whole."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_private(path: Path, content: bytes) -> None:
    """`write_atomic`, but nobody else may write the file, whatever the umask: so that `read_private` trusts it."""
    with atomic(path, shared=False) as temporary:
        temporary.touch(0o644)
        temporary.write_bytes(content)


def of_another(path: Path) -> str | None:
    """What another user than this one and root may do with a file, folder or link, in words; None: nothing."""
    seen = path.lstat()
    if seen.st_uid not in (0, os.geteuid()):
        return f"belongs to {_name(seen.st_uid)}"
    if not stat.S_ISLNK(seen.st_mode) and seen.st_mode & stat.S_IWOTH:
        return "may be written by anybody"
    return None


def is_ours(folder: Path) -> bool:
    """Whether nobody else can change what lies in a folder: neither there, nor by another folder under its name.

    Every folder from the root down belongs to this user or to root, and others may write to none of them, but to those
    above it whose entries only their owners can rename (sticky, as /tmp).
    """
    return not any(_changeable(step, step != folder) for step in (folder, *folder.parents))


def _changeable(folder: Path, above: bool) -> bool:
    seen = folder.lstat()
    sticky = above and seen.st_mode & stat.S_ISVTX
    open_ = seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky
    return bool(open_) or seen.st_uid not in (0, os.geteuid()) or not stat.S_ISDIR(seen.st_mode)


def _name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def read_private(path: Path, limit: int = LARGEST_RECORD) -> bytes | None:
    """The bytes of a file whose shell lines and code may be run: it is this user's own, and nobody else may write it.

    None for any other. What is looked at is what is read: a folder's writer can put another file under the name at any
    moment. Raises `OSError` when it cannot be read, or has more than ``limit`` bytes.
    """
    if path.is_symlink():
        return None
    with regular(path, os.O_NOFOLLOW) as (descriptor, size):
        seen = os.fstat(descriptor)
        if seen.st_uid != os.geteuid() or seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return None
        if size > limit:
            raise OSError(errno.EFBIG, f"its {size:,} bytes are over the limit of {limit:,}", str(path))
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(size)
