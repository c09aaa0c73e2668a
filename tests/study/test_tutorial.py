"""The tutorial, typed: every file it shows is written, every command it shows is run."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import real_part

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```(sh|python)\n(.*?)```", re.DOTALL)


def blocks() -> Iterator[tuple[str, str]]:
    """(file name or "", text) of each block."""
    for kind, text in BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text()):
        named = re.match(r"# (\w+\.py)\n", text)
        yield named[1] if named else "" if kind == "sh" else "cell.py", text


@pytest.mark.long
def test_the_tutorial_leads_from_a_folder_to_an_answer(tmp_path: Path) -> None:
    if not shutil.which("npm"):
        real_part("npm, which the tutorial's pictures come by,", "install Node.js")
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')  # a link would be a Python without its packages
    python.chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    said = ""
    for file, text in blocks():
        if file:
            (tmp_path / file).write_text(text)
        command = "python cell.py" if file == "cell.py" else text
        if file in ("", "cell.py"):
            done = subprocess.run(
                ["bash", "-ec", command], cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            said += done.stdout + done.stderr
    assert "9 done" in said or "diverged" in said
    assert "imagenet@timm has 7 of 9 architectures" in said
    assert (tmp_path / "runs" / "emoji" / "report" / "index.html").is_file()
