"""Lock files and definitions agree with the project and with each other."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.containers.slim import CONTAINERS

PROJECT = tomllib.loads((CONTAINERS.parent / "pyproject.toml").read_text())["project"]
LEFT_OUT = {"dataclasses", "opencv-python", "triton"}


def pins(path: Path) -> dict[str, tuple[str, int]]:
    """Version and number of hashes by package."""
    blocks = re.findall(r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})*)", path.read_text(), re.MULTILINE)
    return {canonicalize_name(name): (version, hashes.count("--hash")) for name, version, hashes in blocks}


def wanted(*extras: str) -> list[Requirement]:
    texts = PROJECT["dependencies"] + [text for extra in extras for text in PROJECT["optional-dependencies"][extra]]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("requirements.lock", ("train", "imagenot", "ocr", "s3", "dev")),
        ("ffcv.lock", ("ffcv",)),
        ("image.lock", ("train", "imagenot", "ffcv")),
    ],
)
def test_every_dependency_is_pinned_with_hashes(lock, extras):
    pinned = pins(CONTAINERS / lock)
    assert all(hashes > 0 for _, hashes in pinned.values())
    for requirement in wanted(*extras):
        version, _ = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def test_the_image_has_the_versions_the_host_has():
    host = pins(CONTAINERS / "requirements.lock") | pins(CONTAINERS / "ffcv.lock")
    image = pins(CONTAINERS / "image.lock")
    assert image.items() <= host.items()
    assert not LEFT_OUT & image.keys()


@pytest.mark.parametrize("lock", ["requirements.lock", "image.lock"])
def test_there_is_one_opencv(lock):
    assert [name for name in pins(CONTAINERS / lock) if name.startswith("opencv")] == ["opencv-python-headless"]


LOCKS = sorted(path.name for path in CONTAINERS.glob("*.lock"))


def test_everything_that_setup_installs_is_hashed():
    """The installer itself and what builds source packages included; `tests/security/test_supply_chain.py` has how."""
    assert LOCKS == [
        "build.lock",
        "docs.lock",
        "ffcv.lock",
        "image.lock",
        "mutate.lock",
        "requirements.lock",
        "tools.lock",
        "uv.lock",
    ]


def test_the_notice_names_every_package_of_nvidia():
    """They are proprietary; the label of the image says so too."""
    notice = (CONTAINERS.parent / "NOTICE").read_text()
    named = {name for name in pins(CONTAINERS / "image.lock") if name.startswith("nvidia-")}
    assert named and {name for name in named if not re.search(rf"\b{name}\b(?!-)", notice)} == set()
    for file in ("Dockerfile", "toolkit.def"):
        assert re.search(r"licenses\W+MIT AND LicenseRef-NVIDIA-Proprietary", (CONTAINERS / file).read_text()), file


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_no_index(lock):
    assert "://" not in (CONTAINERS / lock).read_text()


def test_base_is_pinned_by_digest_and_the_user_is_not_root():
    lines = (CONTAINERS / "Dockerfile").read_text().splitlines()
    assert re.fullmatch(
        r"ARG BASE=\S+@sha256:[0-9a-f]{64}", next(line for line in lines if line.startswith("ARG BASE"))
    )
    assert all(line.split()[1] == "${BASE}" for line in lines if line.startswith("FROM"))
    assert [line for line in lines if line.startswith("USER")] == ["USER toolkit"]


def test_both_images_set_the_same_environment():
    slim, full = ((CONTAINERS / name).read_text() for name in ("slim.def", "toolkit.def"))
    environment = re.compile(r"%environment\n(.*?)\n\n", re.DOTALL)
    packages = "    export PATH=/opt/toolkit/bin:$PATH\n"  # those of the full image; the slim one has none
    assert environment.findall(slim) == environment.findall(full.replace(packages, "", 1)) != []


def test_the_containers_name_no_mirror():
    """A site's mirror is an argument; only the Dockerfile's default base names a registry."""
    files = [path for path in CONTAINERS.iterdir() if path.name != "Dockerfile"]
    assert not [path.name for path in files if re.search(r"https?://", path.read_text())]
