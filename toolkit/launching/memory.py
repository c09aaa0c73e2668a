"""What a study's launches said of how to run it, kept in its folder as ``launch.json`` and used by the next one.

A profile holds shell lines, so the file of another user, or one that others may write, is not used.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from toolkit.cluster.profile import Profile, load_profile
from toolkit.errors import ToolkitError, UsageError
from toolkit.files import of_another, read_private, write_private
from toolkit.launching.request import LaunchRequest
from toolkit.study import Study
from toolkit.study.model import FrozenModel
from toolkit.ways import Way

log = logging.getLogger(__name__)
OPTIONS = ("image", "per_job", "pack", "ways", "on_oom", "on_timeout", "max_gpu_hours")
"""Of a launch, beside data root and profile."""


class LaunchMemory(FrozenModel):
    """The document ``launch.json``: options that hold until a launch gives others."""

    version: int = 1
    data: str | None = None
    """Absolute path of the data root."""
    image: str | None = None
    per_job: int | None = None
    pack: int | None = None
    ways: tuple[Way, ...] | None = None
    on_oom: str | None = None
    on_timeout: str | None = None
    max_gpu_hours: float | None = None
    profile: str | None = None
    """Absolute path of the profile's file."""
    profile_keys: dict[str, Any] = Field(default_factory=dict)
    """What stood in it: the file may be changed or gone."""

    @classmethod
    def of(cls, study: Study) -> Self:
        """What the study remembers; nothing where it was never launched, or by another user."""
        path = study.path / "launch.json"
        if not path.is_file():
            return cls()
        try:
            content = read_private(path)
        except OSError as error:
            raise ToolkitError(f"{path} cannot be read ({error.strerror})") from error
        if content is None:
            log.info("note: %s can be written by others, so it is not used: give --profile, --data, --image", path)
            return cls()
        return cls.parse(content, path)

    def after(self, request: LaunchRequest, profile: Profile, data: Path) -> Self:
        """What is known after a launch: what it was given, and of the rest what was known before."""
        given = {name: value for name in OPTIONS if (value := getattr(request, name)) is not None}
        if request.profile is not None:
            given["profile"] = str(Path(request.profile).absolute())
            given["profile_keys"] = profile.model_dump(mode="json", exclude_defaults=True)
        return self.model_copy(update={**given, "data": str(data)})

    def keep(self, study: Study) -> None:
        """Write it to the study's folder. Raises `ToolkitError`."""
        path = study.path / "launch.json"
        try:
            write_private(path, self.model_dump_json(indent=1).encode() + b"\n")
        except OSError as error:
            raise ToolkitError(f"{path} cannot be written ({error.strerror})") from error


def recalled(request: LaunchRequest, memory: LaunchMemory) -> LaunchRequest:
    """The request with what it leaves open filled in from earlier launches; what is taken over is said."""
    open_ = {name: getattr(memory, name) for name in ("data", *OPTIONS)}
    taken = {name: value for name, value in open_.items() if getattr(request, name) is None and value is not None}
    if taken:
        told = (f"{name} {' '.join(value) if isinstance(value, tuple) else value}" for name, value in taken.items())
        log.info("as in the launch before: %s", ", ".join(told))
    return replace(request, **taken)


def recalled_profile(request: LaunchRequest, memory: LaunchMemory) -> Profile:
    """The profile that the request names, else the remembered one. A remembered file that has changed is told."""
    if request.profile is not None or memory.profile is None:
        profile = load_profile(request.profile)
        if request.profile is not None and (whose := of_another(Path(request.profile))):
            log.info("note: profile %s %s: its shell lines are run as you", request.profile, whose)
        return profile
    kept = Profile.model_validate(memory.profile_keys)
    changes = "; ".join(_changes(kept, memory.profile))
    log.info("profile as in the launch before: %s%s", memory.profile, f" ({changes})" if changes else "")
    return kept


def _changes(kept: Profile, path: str) -> Iterator[str]:
    try:
        now: Mapping[str, Any] = load_profile(path).model_dump()
    except UsageError as error:
        yield str(error)
        return
    differing = [f"{key} {old!r} -> {now[key]!r}" for key, old in kept.model_dump().items() if now[key] != old]
    if differing:
        yield f"the file says {', '.join(differing)} now: --profile {path} takes that"
