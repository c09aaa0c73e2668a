"""Tasks in an image: the command that goes before ``python``, the folders it binds, the image's digest.

The launcher stays on the host. An image is an Apptainer file (``toolkit.sif``), or for a local run ``docker:NAME`` or
``podman:NAME``.
"""

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

import toolkit
from toolkit.cluster import image_file
from toolkit.cluster.profile import Profile
from toolkit.cluster.versions import TRAINING, compare
from toolkit.errors import ToolkitError, UsageError

CODE = Path(toolkit.__file__).parents[1]
INSTALLED = ("site-packages", "dist-packages")
IN_IMAGE = Path("/opt/imagenot-toolkit")
"""Where an image sees an installed toolkit: alone, for the other packages beside it on the host would hide its own."""
ENGINES = ("docker", "podman")
OF_IMAGE = [Path("/", n) for n in ("bin", "dev", "etc", "lib", "lib64", "opt/toolkit", "proc", "sbin", "sys", "usr")]
"""Folders that an image brings itself."""


@dataclass(frozen=True)
class Container:
    """How a program is started: on the host (the default) or in an image."""

    prefix: tuple[str, ...] = ()
    """Goes before ``python``; empty: no image."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Set on the host, where the prefix runs; a PYTHONPATH that is set there already follows ours."""

    def variables(self, around: Mapping[str, str]) -> dict[str, str]:
        """The environment of a process that is started with ``around`` about it."""
        theirs = around.get("PYTHONPATH")
        own = dict(self.environment)
        if theirs and not self.prefix and "PYTHONPATH" in own:
            own["PYTHONPATH"] += os.pathsep + theirs
        return {**around, **own}

    def with_code(self, code: Path) -> "Container":
        """The same, with the package in the folder ``code``."""
        name = "APPTAINERENV_PYTHONPATH" if self.prefix else "PYTHONPATH"
        return replace(self, environment={**self.environment, name: str(code)})


def _own_code(path: Path) -> dict[str, str]:
    """Variables by which Python finds this code in ``path``, and nothing in the folder that a job is started from."""
    return {"PYTHONPATH": str(path), "PYTHONSAFEPATH": "1"}


def is_installed() -> bool:
    """Whether this code lies among other packages, and not in a checkout of its own."""
    return CODE.name in INSTALLED


def host() -> Container:
    """No image: the environment that launches, but no module out of the folder that a job starts in."""
    return Container((), {"PYTHONSAFEPATH": "1"} if is_installed() else _own_code(CODE))


HOST = host()


def contain(image: str, paths: Sequence[Path], profile: Profile, gpu: bool) -> Container:
    """The container that sees ``paths``. Raises `UsageError` for an image or a runtime that is not there."""
    engine, _, name = image.partition(":")
    if engine in ENGINES:
        return _docker(engine, name, paths, profile, gpu)
    return _apptainer(Path(image), paths, profile, gpu)


def check(container: Container, image: str, needed: Sequence[str] = TRAINING) -> list[str]:
    """Start Python in the image and compare versions; returns what differs.

    Raises `ToolkitError` when it does not start, `UsageError` when it lacks a module of those that are needed.
    """
    command = [*container.prefix, "python", "-m", "toolkit.cluster.versions", *needed]
    environment = {**os.environ, **container.environment}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    except OSError as error:
        raise UsageError(f"{command[0]} does not start ({error.strerror}): is it installed here?") from error
    if done.returncode:
        raise ToolkitError(f"image {image} does not start Python: {done.stderr.strip()}")
    return compare(json.loads(done.stdout.splitlines()[-1]), image, needed)


def folders(paths: Sequence[Path]) -> dict[Path, Path]:
    """What the image must see: real folder by the path under which the task names it.

    The given paths and the code, and the targets of links that stand in them, under their own names. A link of another
    user's is left out, unless the folder is that user's; so is one to a folder above one of them (such as ``/``), or to
    one that the image has itself, which it would cover.
    """
    named = [path.absolute() for path in (*paths, *([] if is_installed() else [CODE]))]
    targets = [link.resolve() for path in paths if path.is_dir() for link in _links(path)]
    above = {parent for path in (*named, *OF_IMAGE) for parent in path.resolve().parents}
    alone = {IN_IMAGE / "toolkit": CODE / "toolkit"} if is_installed() else {}
    bound = (*named, *(target for target in targets if _is_free(target, above)))
    return {path: path.resolve() for path in bound} | alone


def _links(folder: Path) -> Iterator[Path]:
    """Links in a folder that lead somewhere, made by its owner, this user or root."""
    trusted = {0, os.geteuid(), folder.stat().st_uid}
    links = (entry for entry in folder.iterdir() if entry.is_symlink() and entry.exists())
    return (link for link in links if link.lstat().st_uid in trusted)


def _is_free(target: Path, above: Set[Path]) -> bool:
    return target not in above and not any(target.is_relative_to(own) for own in OF_IMAGE)


def _apptainer(image: Path, paths: Sequence[Path], profile: Profile, gpu: bool) -> Container:
    if not image.is_file():
        raise UsageError(f"image {image} is not there: build it (containers/build.sh), or name another")
    prefix = [profile.apptainer, "--silent", "exec", *(["--nv"] if gpu else []), *profile.image_options]
    prefix += [f"--bind={bind}" for bind in profile.binds]
    image = image.resolve()
    prefix += [f"--mount={_mount(source, target)}" for target, source in {**folders(paths), image: image}.items()]
    inside = _inside(image_file.variables(image))
    return Container((*prefix, str(image)), {f"APPTAINERENV_{name}": value for name, value in inside.items()})


def _docker(engine: str, name: str, paths: Sequence[Path], profile: Profile, gpu: bool) -> Container:
    """Docker or Podman: process ids and host name are the host's, so that heartbeats can be checked."""
    prefix = [engine, "run", "--rm", "--interactive", "--pid=host", "--uts=host", "--ipc=host"]
    prefix += ["--userns=keep-id"] if engine == "podman" and os.getuid() else []  # else files would be another's
    prefix += [f"--user={os.getuid()}:{os.getgid()}", *(["--gpus=all"] if gpu else []), *profile.image_options]
    prefix += [f"--volume={bind}" for bind in profile.binds]
    prefix += [f"--mount={_mount(source, target)}" for target, source in folders(paths).items()]
    handed_on = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
    digest = _engine_digest(engine, name)  # and started by it: a name may be given to another image meanwhile
    inside = _inside({image_file.DIGEST: digest})
    prefix += [f"--env={variable}" for variable in (*handed_on, *inside)]
    return Container((*prefix, digest), inside)


def _inside(image: Mapping[str, str]) -> dict[str, str]:
    """Environment of the task in the image: this code, no packages of the user's, what results say of the image."""
    return {**_own_code(IN_IMAGE if is_installed() else CODE), "PYTHONNOUSERSITE": "1", **image}


def _mount(source: Path, target: Path) -> str:
    """A bind as CSV, in which any path can be quoted.

    >>> _mount(Path('/real/a, b'), Path("/data"))
    'type=bind,"source=/real/a, b",destination=/data'
    """
    return ",".join(_quoted(["type=bind", f"source={source}", f"destination={target}"]))


def _quoted(fields: Iterable[str]) -> Iterable[str]:
    for text in fields:
        yield '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text


def _engine_digest(engine: str, name: str) -> str:
    command = [engine, "image", "inspect", "--format={{.Id}}", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        raise UsageError(f"--image {engine}:{name}: no {engine} here ({error.strerror})") from error
    if done.returncode:
        raise UsageError(f"--image {engine}:{name}: no such image ({done.stderr.strip()})")
    return done.stdout.strip()
