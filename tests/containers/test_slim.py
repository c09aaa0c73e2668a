"""The slim image, built and run for real."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

import toolkit
from tests.conftest import real_part
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
    assert labels["org.opencontainers.image.licenses"] == "MIT AND LicenseRef-Debian-copyright-files"
    assert re.fullmatch(
        r"Debian bookworm(, snapshot \w+| as it was on [\d-]{10})", labels["org.opencontainers.image.base.name"]
    )
    assert len(labels["org.opencontainers.image.revision"]) >= 7


def test_a_bill_of_materials_beside_it_lists_what_is_in_it():
    bill = json.loads(slim_image().with_suffix(".cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    listed = {(component["name"], component["version"]) for component in bill["components"]}
    shown = inside("dpkg-query", "--show", "--showformat", "${Package} ${Version}\n").splitlines()
    assert {tuple(line.split()) for line in shown} == listed and "python3" in {name for name, _ in listed}
    assert all(component["purl"].startswith("pkg:deb/debian/") for component in bill["components"])


def test_the_licences_of_debians_packages_are_in_it():
    assert "Python" in inside("cat", "/usr/share/doc/python3.11/copyright")


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
    assert environment["PYTHONSAFEPATH"] == "1"
    assert not environment.get("PYTHONPATH")
    assert user_site is False


NUMBA = 'touch "$NUMBA_CACHE_DIR/x" && echo "$NUMBA_CACHE_DIR"'


def test_numba_finds_a_cache_where_the_users_own_cannot_be_written(tmp_path):
    (tmp_path / ".cache").write_text("no folder")
    assert str(tmp_path) not in inside("sh", "-c", NUMBA, options=("--home", str(tmp_path)))


@pytest.mark.parametrize(("owner", "mode"), [(0, 0o777), (0, 0o775), (12345, 0o755)])
def test_a_cache_of_compiled_code_that_others_may_write_is_not_used(tmp_path, owner, mode):
    if os.geteuid():
        real_part("another user", "run as root")
    folder, home = tmp_path / ".cache" / "imagenot-toolkit" / "numba", ("--home", str(tmp_path))
    folder.mkdir(parents=True)
    folder.chmod(mode)
    os.chown(folder, owner, owner)
    assert str(tmp_path) not in inside("sh", "-c", NUMBA, options=home)
    folder.chmod(0o700)
    os.chown(folder, 0, 0)
    assert inside("sh", "-c", NUMBA, options=home).strip() == str(folder)


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
