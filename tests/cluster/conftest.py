import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """A function that puts a shell script where one of Slurm's commands is looked for.

    A one-machine Slurm tries the commands themselves (tests/executors); here answers are given that it gives seldom.
    Each call's arguments are a line of the file ``NAME.calls`` beside it.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(name: str, script: str) -> Path:
        (folder / name).write_text(f'#!/bin/sh\necho "$*" >> "$0.calls"\n{script}\n')
        (folder / name).chmod(0o755)
        return folder / f"{name}.calls"

    return make
