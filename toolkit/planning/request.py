"""What a launch in waves is asked for."""

from dataclasses import dataclass
from pathlib import Path

from toolkit.files import write_atomic
from toolkit.launching.request import LaunchRequest


@dataclass(frozen=True)
class WaveRequest:
    """A launch that is to stop by itself."""

    launch: LaunchRequest
    """All tasks that may be trained, and how."""
    goal: str
    """``verdict``, ``verdict=CHANCE`` or ``width=W``."""
    first: int = 16
    """Nets of the first look."""
    max_nets: int | None = None
    max_hours: float | None = None

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        from pydantic import TypeAdapter

        write_atomic(path, TypeAdapter(WaveRequest).dump_json(self))

    @staticmethod
    def read(path: Path) -> "WaveRequest":
        """What `write` wrote."""
        from pydantic import TypeAdapter

        return TypeAdapter(WaveRequest).validate_json(path.read_bytes())
