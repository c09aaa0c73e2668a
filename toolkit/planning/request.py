"""What a launch in waves is asked for."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from toolkit.errors import ToolkitError
from toolkit.files import read_private, write_private
from toolkit.launching.request import LaunchRequest
from toolkit.study.model import first_problem


@dataclass(frozen=True)
class WaveRequest:
    """A launch that is to stop by itself."""

    launch: LaunchRequest
    """All tasks that may be trained, and how."""
    goal: str
    """``verdict``, ``verdict=CHANCE``, ``width=W``, ``best=K`` of ``--halving``, or ``all``."""
    first: int = 16
    """Nets of the first look."""
    max_nets: int | None = None
    max_hours: float | None = None

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        write_private(path, TypeAdapter(WaveRequest).dump_json(self))

    @staticmethod
    def read(path: Path) -> "WaveRequest":
        """What `write` wrote. Raises `ToolkitError` for a file that is none, or that others may have written."""
        try:
            content = read_private(path)
            if content is None:
                raise ToolkitError(f"{path} can be written by others, so it is not followed: launch again")
            return TypeAdapter(WaveRequest).validate_json(content)
        except OSError as error:
            raise ToolkitError(f"{path} cannot be read ({error.strerror}): launch again") from error
        except ValidationError as error:
            raise ToolkitError(f"{path} is no request ({first_problem(error)}): launch again") from error
