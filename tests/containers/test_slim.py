"""The slim image, built and run for real."""

import json
import os
import subprocess
from pathlib import Path

import pytest

import toolkit
from tests.containers.slim import CONTAINERS, apptainer, site_bind, slim_image

REPOSITORY = CONTAINERS.parent
CODE = ("--bind", f"{site_bind()},{REPOSITORY}:/code:ro", "--env", "PYTHONPATH=/code")


def call(command: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``apptainer COMMAND ARGUMENTS``, captured; ``environment`` is the host's, changed."""
    return subprocess.run(
        [apptainer(), "--silent", command, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
    )


def inside(*arguments: str, options: tuple[str, ...] = (), **environment: str) -> str:
    """What a program in the image prints; it must succeed."""
    called = call("exec", "--userns", *options, slim_image(), *arguments, **environment)
    assert called.returncode == 0, called.stderr
    return called.stdout


def test_labels_say_what_the_image_is():
    inspected = json.loads(call("inspect", "--json", "--labels", slim_image()).stdout)
    labels = inspected["data"]["attributes"]["labels"]
    assert labels["org.opencontainers.image.version"] == toolkit.__version__
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert len(labels["org.opencontainers.image.revision"]) >= 7


def test_help_names_the_binds():
    assert "SITE_PACKAGES:/opt/site" in call("run-help", slim_image()).stdout


def test_its_own_test_passes():
    tested = call("test", "--userns", slim_image())
    assert tested.returncode == 0, tested.stderr
    assert "the decoder's libraries load" in tested.stdout


def test_environment_keeps_the_host_out():
    host = {"LC_ALL": "de_DE.UTF-8", "NUMBA_CACHE_DIR": "/nowhere", "PYTHONPATH": "/leak", "SLURM_JOB_ID": "7"}
    program = "import json, os, site; print(json.dumps([dict(os.environ), site.ENABLE_USER_SITE]))"
    environment, user_site = json.loads(inside("python", "-c", program, **host))
    assert environment["LC_ALL"] == "C.UTF-8"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["NUMBA_CACHE_DIR"].endswith("/.cache/imagenot-toolkit/numba")
    assert environment["SLURM_JOB_ID"] == "7"
    assert not environment.get("PYTHONPATH")
    assert user_site is False


def test_numba_finds_a_cache_where_the_users_own_cannot_be_written():
    program = 'touch "$NUMBA_CACHE_DIR/x" && echo "$NUMBA_CACHE_DIR"'
    assert "/proc" not in inside("sh", "-c", program, XDG_CACHE_HOME="/proc/1")


@pytest.mark.parametrize("name", ["a b", "it's", 'say "x"', "comma,colon:", "new\nline", "$HOME", "ü"])
def test_odd_paths_are_bound(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "x").write_text("here")
    source = '"source={}"'.format(str(folder).replace('"', '""'))
    assert inside("cat", "/mnt/x", options=("--mount", f"type=bind,{source},destination=/mnt")) == "here"


def test_runscript_is_python_m():
    called = call("run", "--userns", *CODE, slim_image(), "toolkit.launch", "--executor", "slurn")
    assert called.returncode == 2
    assert "slurm" in called.stderr


def test_the_full_images_test_passes_with_bound_packages():
    """The %test of toolkit.def: writes, reads and trains. Here on the host's packages, at every change."""
    text = (CONTAINERS / "toolkit.def").read_text()
    script = text.split("%test\n")[1].split("%labels")[0]
    assert "passed: wrote, read and trained" in inside("sh", "-c", script, options=CODE)
