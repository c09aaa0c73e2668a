"""Fixtures of the rooms that are attacked."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import real_part
from tests.training.conftest import data, declare, study

__all__ = ["data", "declare", "study"]
NAME = f"imagenot-attacker{os.environ.get('PYTEST_XDIST_WORKER', '')}"
"""A user of each test process's own: one that ends must not remove the other's."""


@pytest.fixture(scope="session")
def attacker() -> Iterator[Callable[..., str]]:
    """A function that runs a program as another user of this machine, made for the tests; what it prints."""
    if os.geteuid():
        real_part("a second user", "run as root")
    subprocess.run(["useradd", "--no-create-home", "--shell", "/usr/sbin/nologin", NAME], check=False)

    def run(*command: str | Path, stdin: str = "") -> str:
        who = {"user": NAME, "group": NAME, "extra_groups": []}
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, cwd="/", **who)
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield run
    subprocess.run(["userdel", NAME], check=True, capture_output=True)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody may write to, as careless groups have it."""
    folder = Path(tempfile.mkdtemp(prefix="shared-", dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)
