"""What all nouns share: strict pydantic models, JSON files, and errors of one line."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from toolkit.errors import ToolkitError
from toolkit.files import make_folder, read_regular, write_atomic
from toolkit.visible import visible


class FrozenModel(BaseModel):
    """An immutable, strict model that reads and writes itself as one JSON file."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), ser_json_inf_nan="constants")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read ``path``. Raises `ToolkitError` naming the file and the field when it is no such document."""
        try:
            return cls.parse(read_regular(path), path)
        except OSError as error:
            raise ToolkitError(f"{path} cannot be read ({error.strerror})") from error

    @classmethod
    def parse(cls, content: bytes, path: Path) -> Self:
        """What stands in ``content``, which was read from ``path``. Raises `ToolkitError` as `read` does."""
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise ToolkitError(f"{path} is no {cls.__name__.lower()}: {first_problem(error)}") from error

    def write(self, path: Path) -> None:
        """Write to ``path`` atomically. Raises `ToolkitError` when the place cannot be written."""
        try:
            make_folder(path.parent)
            write_atomic(path, self.model_dump_json(indent=1).encode() + b"\n")
        except OSError as error:
            raise ToolkitError(f"{path} cannot be written ({error.strerror})") from error


def first_problem(error: ValidationError) -> str:
    """The first of a validation's problems, as ``field: reason`` in one line."""
    problem = error.errors()[0]
    place = visible(".".join(str(part) for part in problem["loc"]))  # the names in a document are its author's
    return f"{place + ': ' if place else ''}{problem['msg'].removeprefix('Value error, ')}"
