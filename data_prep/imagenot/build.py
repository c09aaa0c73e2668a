"""Build: the folder of one rebuilding, ``build.json`` with all options and a room for each stage.

A stage's room holds for every shard its output and ``SHARD.json``, the counts, written last: a shard with counts is
finished and is never done again. ``made-from.json`` in the room is a hash over all options that its content depends
on, so that shards of different options never meet in one room.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from data_prep.imagenot.options import STAGES, Options, read_options
from toolkit.errors import ToolkitError, UsageError
from toolkit.files import TEMPORARY, atomic, read_regular, write_atomic

if TYPE_CHECKING:
    import polars as pl

OPTIONS = "build.json"
RULES_VERSION = 2
"""Counts on when a rule of the stage match finds other captions than before."""
ORIGIN = "made-from.json"
POLITE = ("threads", "per_host", "patience_s", "contact", "probe", "max_unreachable", "allow_private", "block")
HARMLESS = {("match", "batch_rows"), ("score", "batch"), ("download", "shard_urls")}
HARMLESS |= {("download", option) for option in POLITE}
"""Options that say how the work is done, not what comes out; and what was blocked, which may grow at any time."""

Counts = dict[str, int]
Advance = Callable[[int], None]
"""Told of rows, captions, kB or images as they are done."""


def unseen(_: int) -> None:
    """The `Advance` that tells nobody."""


def read_record(path: Path) -> Any:
    """A JSON document that a stage has written. Raises `ToolkitError` when it cannot be read as one."""
    try:
        return orjson.loads(read_regular(path))
    except OSError as error:
        raise ToolkitError(f"{path} cannot be read ({error.strerror})") from error
    except orjson.JSONDecodeError as error:
        raise ToolkitError(f"{path} is damaged ({error}): remove it and run the stage again") from error


class Build:
    """A build folder that was looked at."""

    def __init__(self, path: Path, options: Options) -> None:
        self.path, self.options = path, options

    @classmethod
    def open(cls, path: str | Path) -> "Build":
        """Open a build. Raises `UsageError` when there is none."""
        path = Path(path)
        if not (path / OPTIONS).is_file():
            raise UsageError(f"{path} is no build; begin one: python -m data_prep.imagenot classes {path}")
        return cls(path, read_options(path / OPTIONS))

    @classmethod
    def open_or_create(cls, path: str | Path) -> "Build":
        """Open a build, or begin one with the default options."""
        if (Path(path) / OPTIONS).exists():
            return cls.open(path)
        return cls(Path(path), Options())

    def save(self, options: Options) -> "Build":
        """The build with these options, which are on disk from now on."""
        file = self.path / OPTIONS
        if not file.exists() or read_options(file) != options:
            write(file, options.model_dump_json(indent=1).encode())
        return Build(self.path, options)

    def room(self, stage: str) -> Path:
        """The folder of a stage."""
        return self.path / stage

    def folders(self) -> list[Path]:
        """All folders on this machine that the stages by shards read or write."""
        sources = [source.removeprefix("file://") for source in self.options.match.sources]
        places = [*(Path(source).parent for source in sources), Path(self.options.classes.wordnet)]
        places += [Path(self.options.score.model), *map(Path, self.options.clean.against)]
        return [self.path, *dict.fromkeys(place for place in places if place.is_dir())]

    def fingerprint(self, stage: str) -> str:
        """SHA-256 over the options of this stage and of all before it.

        Those at their defaults are left out, so that an option added later does not make a build's shards foreign.
        """
        if "match" in STAGES[: STAGES.index(stage) + 1] and not self.is_of_old_rule():
            return self._hash(stage, rules=RULES_VERSION)
        return self._hash(stage)

    def _hash(self, stage: str, **more: int) -> str:
        upto = STAGES[: STAGES.index(stage) + 1]
        sections = self.options.model_dump(mode="json", include=set(upto), exclude_defaults=True) | more
        for name, option in HARMLESS:
            sections.get(name, {}).pop(option, None)
        return hashlib.sha256(orjson.dumps(sections, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def is_of_old_rule(self) -> bool:
        """Whether the captions were matched by version 0.1, whose one rule is no more: nothing can be added to them."""
        origin = self.room("match") / ORIGIN
        has_shards = any(self.room("match").glob("[!.]*.parquet")) and origin.exists()
        return has_shards and read_record(origin) == self._hash("match")

    def check_fingerprint(self, stage: str) -> None:
        """Enter a stage's room. Raises `UsageError` when other options filled it."""
        origin = self.room(stage) / ORIGIN
        if not any(self.room(stage).glob("[!.]*.parquet")):
            write(origin, orjson.dumps(self.fingerprint(stage)))
        if read_record(origin) != self.fingerprint(stage):
            raise UsageError(
                f"{self.room(stage)} was made with other options of this stage or one before; remove that folder to "
                "make it anew, or take another build folder"
            )

    def reset_stage(self, stage: str) -> None:
        """Enter the room of a stage that is one step: what other options, or a killed run, left there is removed."""
        origin = self.room(stage) / ORIGIN
        if origin.exists() and read_record(origin) != self.fingerprint(stage):
            shutil.rmtree(self.room(stage))
        self.remove_leftovers(stage)
        self.check_fingerprint(stage)

    def is_finished(self, stage: str, shard: str) -> bool:
        """Whether the shard's counts are there."""
        return (self.room(stage) / f"{shard}.json").exists()

    def finish(self, stage: str, shard: str, counts: Mapping[str, int]) -> None:
        """Mark a shard as finished: its counts."""
        write(self.room(stage) / f"{shard}.json", orjson.dumps(dict(counts), option=orjson.OPT_INDENT_2))

    def counts(self, stage: str, shard: str) -> Counts:
        """The counts of a finished shard."""
        counts = read_record(self.room(stage) / f"{shard}.json")
        if not isinstance(counts, dict):
            raise ToolkitError(f"{self.room(stage) / shard}.json has no counts: remove it and run the stage again")
        return counts

    def need(self, stage: str, name: str) -> Path:
        """A file that an earlier stage has made. Raises `UsageError` when it is not there."""
        path = self.room(stage) / name
        if not path.exists():
            raise UsageError(
                f"{path} is not there: run the stage first: python -m data_prep.imagenot {stage} {self.path}"
            )
        return path

    def remove_leftovers(self, stage: str, name: str = "") -> None:
        """Remove what a killed run left under temporary names, of one shard or file or of all."""
        for leftover in self.room(stage).glob(f"{TEMPORARY}*-{name}*"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def total(counts: "list[Counts]") -> Counts:
    """Counts added up, in order of first appearance."""
    added: Counter[str] = Counter()
    for one in counts:
        added.update(one)
    return dict(added)


def write(path: Path, content: bytes) -> None:
    """Write a file atomically. Raises `ToolkitError` when the disk is full or the place cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    except OSError as error:
        raise cannot_write(path, error) from error


def write_table(path: Path, table: "pl.DataFrame") -> None:
    """Write parquet atomically. Raises `ToolkitError` when the disk is full or the place cannot be written."""
    from polars.exceptions import PolarsError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            table.write_parquet(temporary)
    except (OSError, PolarsError) as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: Exception) -> ToolkitError:
    """The error for a file that cannot be written."""
    reason = getattr(error, "strerror", None) or error
    return ToolkitError(f"{path} cannot be written ({reason}); make room and start again: finished shards stay")
