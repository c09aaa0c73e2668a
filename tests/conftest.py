"""Fixtures that several test folders share."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import orjson
import pytest
from hypothesis import Phase, settings

from slurm.cluster import Cluster, missing_parts
from tests.containers.slim import apptainer, site_bind, slim_image

settings.register_profile("here", deadline=None)
settings.load_profile("here")
"""How long one example takes says something of the machine, and nothing of the code."""
settings.register_profile("mutate", phases=(Phase.explicit, Phase.generate), deadline=None, derandomize=True)
"""For `make mutate`: what a test finds is not made smaller, for nobody reads it."""

SLOW_ROOMS = ("benchmarks", "training", "containers", "imagenot", "executors", "security")
"""Folders whose tests are slow and run last, in this order: a slip in a noun need not wait for a cluster."""

WORDNET = Path("/usr/share/wordnet")
collect_ignore = [] if WORDNET.is_dir() or os.environ.get("CI") else ["imagenot"]
"""ImageNot's tests make their metadata from WordNet's files as soon as they are imported."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for room in collect_ignore:
        terminalreporter.write_line(f"tests/{room} was left out: WordNet (Debian: wordnet-base) is not installed")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Slow folders are not even imported when only quick tests are asked for."""
    wanted = "not slow" not in config.option.markexpr or collection_path.name not in SLOW_ROOMS
    return None if wanted or collection_path.parent != Path(__file__).parent else True


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast folders first, the others' tests marked as slow. With several workers (`-n`) a file stays with one: each has
    a cluster of its own.
    """
    tests = Path(__file__).parent
    rank = {room: number for number, room in enumerate(SLOW_ROOMS)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(tests).parts[0], -1))
    for item in items:
        file = item.path.relative_to(tests)
        item.add_marker(pytest.mark.xdist_group(str(file)))
        if file.parts[0] in rank or "ffcv" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


def real_part(missing: str, remedy: str = "containers/install-system.sh tests/apt-packages.txt") -> NoReturn:
    """A real part that is not installed: a failure where everything must be, a skip on other machines."""
    if os.environ.get("CI"):
        pytest.fail(f"{missing} is not installed: {remedy}")
    pytest.skip(f"{missing} is not installed ({remedy})")


@pytest.fixture(scope="session")
def ffcv() -> ModuleType:
    """FFCV, whose import compiles for seconds."""
    try:
        import ffcv
    except ImportError:
        real_part("FFCV", "make setup-ffcv")
    return ffcv


@pytest.fixture(scope="session")
def libturbojpeg() -> None:
    """The system's libturbojpeg, which judges the one in a wheel."""
    from toolkit.imagefile.jpeg.turbo import library

    if library() is None:
        real_part("libturbojpeg", "containers/install-system.sh containers/apt-runtime.txt")


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    """A one-machine Slurm of two nodes with one CPU each, for the whole test session."""
    if missing := missing_parts():
        real_part(f"Slurm ({', '.join(missing)})")
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="slurm-")))
    cluster.start(nodes=2, cpus=1, max_array_size=1001, requeue_s=5)
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(running_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster, with ``SLURM_CONF`` pointing at it and no jobs of other tests in its queue."""
    monkeypatch.setenv("SLURM_CONF", str(running_cluster.config))
    running_cluster.slurm("scancel", "--state=PENDING", "--partition=main")
    running_cluster.slurm("scancel", "--partition=main")
    return running_cluster


@pytest.fixture(scope="session")
def image_profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile whose tasks run in the slim image, with this environment's packages bound in."""
    options = {
        "apptainer": str(apptainer()),
        "image": str(slim_image()),
        "image_options": ["--userns"],
        "binds": [site_bind()],
        "cpus": 1,
        "time_min": 30,
    }
    path = tmp_path_factory.mktemp("profile") / "image.toml"
    path.write_text("\n".join(f"{key} = {orjson.dumps(value).decode()}" for key, value in options.items()))
    return path
