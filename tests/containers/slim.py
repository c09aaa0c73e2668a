"""The slim image and the Apptainer that runs it: built once per machine, shared by all tests that need a container."""

import fcntl
import hashlib
import subprocess
import sysconfig
from functools import cache
from pathlib import Path

CONTAINERS = Path(__file__).parents[2] / "containers"
CACHE = Path.home() / ".cache" / "imagenot-toolkit"
INGREDIENTS = ("slim.def", "build.sh", "sbom.py", "tools.lock", "apt-runtime.txt")
"""What decides the slim image; a change of one builds a new image."""


@cache
def apptainer() -> Path:
    """The Apptainer of this machine: the one on PATH, else Debian sid's, unpacked into the cache (once)."""
    called = subprocess.run([CONTAINERS / "install-apptainer.sh"], check=True, stdout=subprocess.PIPE, text=True)
    return Path(called.stdout.strip())


@cache
def slim_image() -> Path:
    """The slim image, from the cache or built now (about a minute); tests that run at once wait for one build."""
    recipe = b"".join((CONTAINERS / name).read_bytes() for name in INGREDIENTS)
    image = CACHE / f"slim-{hashlib.sha256(recipe).hexdigest()[:12]}.sif"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "slim.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.is_file():
            subprocess.run([CONTAINERS / "build.sh", "--slim", "--output", image], check=True)
    return image


def site_bind() -> str:
    """The bind that gives the image this virtual environment's packages (found there as /opt/site)."""
    return f"{sysconfig.get_path('purelib')}:/opt/site:ro"
