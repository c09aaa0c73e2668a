"""The scripts: installed once, one clear line when something is wrong."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.containers.slim import CONTAINERS, apptainer


def call(script: str, *arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CONTAINERS / script, *arguments], capture_output=True, text=True, timeout=60, **options)


def test_a_second_installation_is_instant():
    first, start = apptainer(), time.monotonic()
    assert call("install-apptainer.sh").stdout.strip() == str(first)
    assert time.monotonic() - start < 1
    version = subprocess.run([first, "--version"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("apptainer version 1.")


def test_an_apptainer_on_the_path_is_used(tmp_path):
    program = tmp_path / "apptainer"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    called = call("install-apptainer.sh", tmp_path / "x", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert called.stdout.strip() == str(program)
    assert not (tmp_path / "x").exists()


def test_a_folder_images_cannot_be_mounted_from_is_refused(tmp_path):
    for tool in ("bash", "dirname", "realpath"):  # a PATH without Apptainer, wherever this machine has one
        (tmp_path / tool).symlink_to(shutil.which(tool))
    called = call("install-apptainer.sh", tmp_path / "a b", env={"PATH": str(tmp_path)})
    assert called.returncode == 1
    assert called.stderr.startswith("error: ")
    assert called.stderr.count("\n") == 1


def test_without_root_one_line_says_what_is_missing():
    folder = Path(tempfile.mkdtemp())  # not tmp_path, which other users may not enter
    try:
        folder.chmod(0o755)
        shutil.copy(CONTAINERS / "install-system.sh", folder)
        (folder / "list.txt").write_text("bash\nno-such-package\n")
        user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
        called = subprocess.run(
            [folder / "install-system.sh", folder / "list.txt"], capture_output=True, text=True, cwd=folder, **user
        )
    finally:
        shutil.rmtree(folder)
    assert called.returncode == 1
    assert called.stderr.count("\n") == 1
    assert "missing system packages: no-such-package;" in called.stderr
    assert "container" in called.stderr


def test_an_unknown_argument_is_answered_with_the_known_ones():
    called = call("build.sh", "--slmi")
    assert called.returncode == 2
    assert "--slim" in called.stderr


def test_help_describes_every_argument():
    text = call("build.sh", "--help").stdout
    assert all(f"--{name} " in text for name in ("slim", "output", "base", "mirror", "suite"))


def test_a_failed_build_leaves_nothing_behind(tmp_path):
    called = call("build.sh", "--slim", "--mirror", "http://127.0.0.1:9/debian", "--output", tmp_path / "x.sif")
    assert called.returncode != 0
    assert list(tmp_path.iterdir()) == []
