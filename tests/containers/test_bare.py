"""An ordinary user's machine: no root, no compiler, no headers. Wheels alone install, and what they bring trains."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import real_part
from tests.containers.slim import CONTAINERS

ROOT = CONTAINERS.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HIDE = (
    'empty=$1; shift; for part in /usr/include /usr/lib/gcc; do /usr/bin/mount --bind "$empty" $part; done; exec "$@"'
)


@pytest.mark.parametrize("platform", ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28"])
def test_all_that_trains_comes_as_wheels(platform: str, tmp_path: Path) -> None:
    """Nothing is installed; the index tells which wheels it has of the versions that are pinned."""
    uv = Path(sys.executable).with_name("uv")
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["train"]
    command = [uv, "pip", "install", "--dry-run", "--only-binary", ":all:", "--python-platform", platform]
    where = ["--python-version", "3.11", "--target", tmp_path, "--constraints", CONTAINERS / "requirements.lock"]
    asked = subprocess.run([*command, *where, *wanted], capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    assert "+ torch==" in asked.stderr and "+ simplejpeg==" in asked.stderr


def test_without_root_and_compiler_a_dataset_is_written_and_trained_on(tmp_path: Path) -> None:
    (empty := tmp_path / "empty").mkdir()
    bare = ["/usr/bin/unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-ec", HIDE, "sh", empty]
    if subprocess.run([*bare, "/bin/true"], capture_output=True).returncode:
        real_part("a user namespace", "sysctl user.max_user_namespaces")
    user = {"HOME": str(tmp_path), "PATH": str(empty), "PYTHONPATH": str(ROOT)}
    user |= {name: os.environ[name] for name in ("NUMBA_CACHE_DIR",) if name in os.environ}

    def call(*words: str) -> str:
        script = [*bare, sys.executable, "-m", *words]
        done = subprocess.run(script, cwd=tmp_path, env=user, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    call(
        "data_prep.synthetic", "--family", "textures", "--classes", "2", "--train", "64", "--val", "32", "--size", "20"
    )
    nets = ("--models", "timm/lcnet_050", "--dataset", "demo-textures")
    said = call("toolkit.launch", *nets, "--recipe", "demo", "--study", "bare", "--executor", "debug")
    assert "1 done" in said or "1 diverged" in said
