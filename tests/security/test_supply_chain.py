"""An index of packages that serves what its owner likes: nothing runs but what a lock file has the hash of."""

import hashlib
import os
import re
import shlex
import subprocess
import sys
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALL = re.compile(r"(?:\S+ -m )?\S*(?:uv pip|\bpip3?)\"? install\b[^;&|)}\n]*")
"""What installs, up to the end of the command."""
FETCHES = re.compile(r"\b(curl|wget|pipx|uvx|uv tool|uv run|conda|npm|npx|git clone|easy_install|pip download)\s")
CODE = ("Makefile", ".ci/*", ".pre-commit-config.yaml", "containers/*", "slurm/*", "tests/mutate/*")


def files() -> list[Path]:
    """All that is run to set something up."""
    found = {path for pattern in CODE for path in ROOT.glob(pattern) if path.is_file()}
    return [path for path in sorted(found) if path.suffix != ".lock" and ".venv" not in path.parts]


def commands(path: Path) -> list[str]:
    if path.name == "Makefile":
        dry = ["make", "--dry-run", "--always-make", "--no-print-directory", "setup-ffcv", "docs", "mutate", "audit"]
        text = subprocess.run(dry, cwd=path.parent, capture_output=True, text=True, check=True).stdout
    else:
        text = path.read_text()
    lines = [line for line in text.replace("\\\n", " ").splitlines() if not line.lstrip().startswith("#")]
    return [found for line in lines for found in INSTALL.findall(line)]


def test_every_install_is_of_hashed_wheels_or_of_this_project() -> None:
    found = {path.name: commands(path) for path in files()}
    assert len(found["Makefile"]) >= 7 and len(found["Dockerfile"]) == 3 and found["build.sh"]
    for name, lines in found.items():
        for line in lines:
            is_ours = re.search(r"(-e \.|/src('|\[[a-z,]+\]')?)\s*$", line)
            pinned = ("--build-constraints", "--no-build-isolation") if is_ours else ("--require-hashes",)
            assert any(option in line for option in pinned), f"{name}: {line}"
            brings_others = not is_ours or "[" in line
            assert not brings_others or "--only-binary :all:" in line, f"{name}: {line}"
            # uv has no --require-hashes beside a folder, but holds what it fetches to its constraints' hashes
            assert not brings_others or re.search(r"--require-hashes|--constraints \S+\.lock", line), f"{name}: {line}"


def test_nothing_is_fetched_past_the_locks() -> None:
    for path in files():
        lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
        assert not [line for line in lines if FETCHES.search(line)], path


class Index:
    """A folder as a package index; `EVIL` is what its packages run."""

    def __init__(self, root: Path) -> None:
        self.root, self.mark = root, root / "attacked"
        self.evil = f"import pathlib; pathlib.Path({str(self.mark)!r}).touch()\n"

    def add(self, name: str, file: str) -> Path:
        folder = self.root / "simple" / name
        folder.mkdir(parents=True)
        (folder / "index.html").write_text(f'<a href="{file}">{file}</a>')
        return folder / file

    def wheel(self, name: str, version: str, module: str) -> None:
        about = f"{name}-{version}.dist-info"
        parts = {
            f"{module}.py": self.evil,
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        parts[f"{about}/RECORD"] = "".join(f"{part},,\n" for part in parts) + f"{about}/RECORD,,\n"
        path = self.add(name.replace("_", "-"), f"{name}-{version}-py3-none-any.whl")
        with zipfile.ZipFile(path, "w") as archive:
            for part, text in parts.items():
                archive.writestr(part, text)

    def source(self, name: str, requires: str, backend: str) -> str:
        """A genuine source package; the line of a lock that pins it."""
        folder = project(self.root / f"{name}-1", name, requires, backend)
        (folder / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        path = self.add(name, f"{name}-1.tar.gz")
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder, folder.name)
        return f"{name}==1 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def project(folder: Path, name: str, requires: str, backend: str) -> Path:
    folder.mkdir()
    system = f'[build-system]\nrequires = ["{requires}"]\nbuild-backend = "{backend}"\n'
    (folder / "pyproject.toml").write_text(f'{system}[project]\nname = "{name}"\nversion = "1"\n')
    return folder


def pinned(lock: str) -> str:
    """The version of the first package in a lock file."""
    return re.findall(r"^\S+==(\S+)", (ROOT / "containers" / lock).read_text(), re.MULTILINE)[0]


@pytest.fixture
def index(tmp_path: Path):
    index = Index(tmp_path)
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        index.url = f"http://127.0.0.1:{server.server_port}/simple"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield index
        server.shutdown()
        thread.join()


def test_an_index_that_lies_runs_nothing(index: Index, tmp_path: Path) -> None:
    """It has other wheels under pinned versions, and source packages alone, whose builders no lock pins."""
    index.wheel("setuptools", pinned("build.lock"), "setuptools")
    index.wheel("flit_core", "3.99", "flit_core")
    (tmp_path / "evil.lock").write_text(index.source("victim", "flit-core", "flit_core.buildapi"))
    ours = project(tmp_path / "ours", "ours", "setuptools>=77", "setuptools.build_meta")
    around = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_"))}
    around |= {"PIP_INDEX_URL": index.url, "UV_INDEX_URL": index.url, "PIP_CONFIG_FILE": os.devnull}
    around |= {"UV_CACHE_DIR": str(tmp_path / "cache"), "UV_NO_CONFIG": "1"}

    def run(command: str) -> subprocess.CompletedProcess:
        command = re.sub(r"containers/(?!build)\w+\.lock", str(tmp_path / "evil.lock"), command)
        words = shlex.split(command.replace("-e .", f"-e {ours}"))
        into = ["--target", str(tmp_path / "into")] * ("--target" not in words)
        words = [str(tmp_path / "into") if "mutmut" in word else word for word in words]
        words = [re.sub(r"^\.venv/(docs|tools|bin/python)$", sys.executable, word) for word in words]
        return subprocess.run([*words, *into], cwd=ROOT, env=around, capture_output=True, text=True, check=False)

    for command in commands(ROOT / "Makefile"):
        done = run(command)
        assert done.returncode and not index.mark.exists(), command
        assert re.search("[Hh]ash mismatch|no usable wheels|No matching distribution", done.stderr), done.stderr
    weak = f"{sys.executable} -m uv pip install --python {sys.executable} --require-hashes -r containers/x.lock"
    run(weak)
    assert index.mark.exists()  # the attack works on who takes source packages
