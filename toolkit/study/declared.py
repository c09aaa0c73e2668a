"""Declared tasks: JSON lines in files that are only ever added, so that two launchers can't undo each other.

Beside ``NAME.jsonl`` stands ``NAME.index``: ids in order, each with the offset of its line. So an array element finds
its own tasks among 100,000 by a few small reads. A file without an index (an earlier version's) is looked through.
``NAME.labels`` is what was once read of a large file for people, and may be removed at any time.
"""

import hashlib
import operator
import os
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import lru_cache
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from toolkit.errors import ToolkitError
from toolkit.files import regular, stamp, uncollected, write_atomic
from toolkit.study.model import first_problem
from toolkit.study.recipe import Recipe
from toolkit.study.remembered import NONSENSE, recall, remember
from toolkit.study.task import ID_LENGTH, Task

ENTRY = ID_LENGTH + 14
"""Bytes of an index's line: id, space, twelve digits, line break."""
ID = re.compile(rb'\{"id": ?"([0-9a-f]+)"')
HEAD = re.compile(rb'\{"id":"([0-9a-f]{16})","task":')
RECIPE = b',"recipe":'
NAMES = re.compile(
    rb'\{"architecture":"([^"\\]+)","dataset":"([^"\\]+)","dataset_hash":"([^"\\]*)"(?:,"manifest_hash":"([^"\\]*)")?'
)
TAIL = re.compile(rb'"seed":(\d+),"start":null\}\}$')
"""A line of `add`: its begin, what stands before its recipe, and the end of a task without a start. So what people
know a task by is had without its JSON; the seeds of a net on a dataset share what stands before the recipe."""
TAIL_LENGTH = 48
WHOLE_ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}")
WHOLE_IDS = re.compile(rf"(?:[0-9a-f]{{{ID_LENGTH}}})*")
WORTH = 500
"""Tasks from which on their labels are remembered: below, reading the tasks is as quick."""
FEW = 500
"""Up to so many tasks are looked up one by one; for more a file is read through."""
LONGEST_LINE = 1 << 20
"""Bytes of a task that is looked up by the index; a longer one is found by reading the file (our choice)."""
LARGEST = 1 << 30
"""Bytes of the largest file that is read (a million tasks; our choice)."""


class Label(NamedTuple):
    """What people know a task by."""

    architecture: str
    column: str
    """As `Task.column`."""
    seed: int
    dataset_hash: str
    manifest_hash: str = ""

    @property
    def dataset(self) -> str:
        """The folder's name."""
        return self.column.partition("<-")[0]

    def named(self, with_seed: bool) -> str:
        """For people; the seed where a study has several."""
        return f"{self.architecture} on {self.column}" + (f", seed {self.seed}" if with_seed else "")


def several_seeds(known: Iterable[Label]) -> bool:
    """Whether the seed has to be said."""
    return len({label.seed for label in known}) > 1


def add(folder: Path, tasks: Mapping[str, Task]) -> None:
    """Write one more file. Raises `ToolkitError`."""
    lines = [orjson.dumps({"id": i, "task": task.model_dump(mode="json")}) + b"\n" for i, task in tasks.items()]
    digest = hashlib.sha256("".join(tasks).encode()).hexdigest()[:8]
    path = folder / f"{len(_files(folder)):04d}-{digest}.jsonl"
    offsets, at = dict[str, int](), 0
    for task_id, line in zip(tasks, lines, strict=True):
        offsets[task_id] = at
        at += len(line)
    try:
        index = "".join(f"{task_id} {offsets[task_id]:012d}\n" for task_id in sorted(offsets))
        write_atomic(path.with_suffix(".index"), index.encode())
        write_atomic(path, b"".join(lines))
    except OSError as error:
        raise ToolkitError(f"{path} cannot be written ({error.strerror})") from error


def labels(folder: Path) -> dict[str, Label]:
    """All declared tasks, in the order of declaration; this process reads a file once. Raises `ToolkitError`."""
    found = dict[str, Label]()
    for path in _files(folder):
        found |= _labels(path, stamp(path) or ())
    return found


@lru_cache(maxsize=1024)
@uncollected()
def _labels(path: Path, seen: tuple[int, ...]) -> Mapping[str, Label]:
    """Those of the file as it is ``seen``. Of many tasks they are remembered beside it: a fortieth of its bytes."""
    memory = path.with_suffix(".labels")
    try:
        return _remembered(recall(memory), seen)
    except NONSENSE:
        found = _read_labels(path)
    if len(found) >= WORTH:
        names = [(label.architecture, label.column, *label[3:]) for label in found.values()]
        places = {name: place for place, name in enumerate(dict.fromkeys(names))}
        columns = {"name": [places[name] for name in names], "seed": [label.seed for label in found.values()]}
        remember(memory, {"of": seen, "names": list(places), "ids": "".join(found), **columns})
    return found


def _remembered(memory: Mapping[str, Any], seen: tuple[int, ...]) -> Mapping[str, Label]:
    """Labels from columns. Raises one of `NONSENSE` where they are of another file, or no labels."""
    ids = memory["ids"]
    if tuple(memory["of"]) != seen or not WHOLE_IDS.fullmatch(ids):
        raise ValueError("they are of another file, or no labels")
    names = [tuple(map(intern, name)) for name in memory["names"]]
    rows = zip(map(names.__getitem__, memory["name"]), map(operator.index, memory["seed"]), strict=True)
    found = (Label(net, column, seed, content, manifest) for (net, column, content, manifest), seed in rows)
    return dict(zip((ids[at : at + ID_LENGTH] for at in range(0, len(ids), ID_LENGTH)), found, strict=True))


def _read_labels(path: Path) -> Mapping[str, Label]:
    found = {}
    for number, line in _lines(path):
        head, tail = HEAD.match(line), TAIL.search(line, max(0, len(line) - TAIL_LENGTH))
        names = _names(line[head.end() : line.find(RECIPE)]) if head and tail else None
        if head and tail and names:
            architecture, dataset, *hashes = names
            found[head[1].decode()] = Label(architecture, dataset, int(tail[1]), *hashes)
        else:
            task_id, task = _document(path, number, line)
            found[task_id] = _label(f"{path}:{number}", task)
    return found


@lru_cache(maxsize=1 << 16)
def _names(text: bytes) -> tuple[str, ...] | None:
    """Architecture, dataset and its two hashes."""
    found = NAMES.fullmatch(text)
    return found and tuple((part or b"").decode() for part in found.groups())


def _label(where: str, task: dict[str, Any]) -> Label:
    try:
        start = task.get("start")
        column = f"{task['dataset']}<-{start['dataset']}" if start else task["dataset"]
        hashes = intern(task["dataset_hash"]), intern(task.get("manifest_hash", ""))
        return Label(intern(task["architecture"]), intern(column), task.get("seed", 0), *hashes)
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(where, error) from error


class DeclaredTasks(Mapping[str, Task]):
    """Declared tasks of which each is read when it is wanted, and all of them when many are."""

    def __init__(self, folder: Path, known: Mapping[str, Label]) -> None:
        self.folder, self.known = folder, known
        self._read: dict[str, Task] = {}

    def __len__(self) -> int:
        return len(self.known)

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self.known

    def __getitem__(self, task_id: str) -> Task:
        if task_id not in self._read:
            many = len(self._read) >= FEW
            self._read |= some(self.folder, self.known.keys() if many else {task_id})
        return self._read[task_id]


def every(folder: Path) -> dict[str, Task]:
    """All of them, whole. Raises `ToolkitError` on a damaged file."""
    return {i: _task(path, task) for path in _files(folder) for i, task in _documents(path)}


def some(folder: Path, wanted: Set[str]) -> dict[str, Task]:
    """Those of the ``wanted`` ids. Raises `ToolkitError` when one is damaged."""
    found: dict[str, Task] = {}
    for path in _files(folder):
        if len(wanted) > FEW or not path.with_suffix(".index").exists():
            chosen = [(i, task) for i, task in _documents(path, wanted)]
        else:
            chosen = [entry for i in wanted for entry in _beginning_with(path, i)]
        found |= {i: _task(path, task) for i, task in chosen if i in wanted}
    return found


def beginning_with(folder: Path, prefix: str) -> dict[str, Task]:
    """Those whose id begins with ``prefix``. Raises `ToolkitError` when one is damaged."""
    return {i: _task(path, task) for path in _files(folder) for i, task in _beginning_with(path, prefix)}


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.jsonl"))


def _beginning_with(path: Path, prefix: str) -> list[tuple[str, Any]]:
    """By the index; where it is not there, or not of this file, by looking through."""
    try:
        found = [_document(path, 0, line) for line in _indexed(path, prefix)]
        if all(task_id.startswith(prefix) for task_id, _ in found):
            return found
    except (OSError, ValueError, ToolkitError):
        pass  # reading all of it tells what is wrong, and where
    return [(i, task) for i, task in _documents(path) if i.startswith(prefix)]


def _indexed(path: Path, prefix: str) -> Iterator[bytes]:
    """Lines of the tasks whose ids begin so."""
    with regular(path.with_suffix(".index")) as (index, size), regular(path) as (file, end):
        count = size // ENTRY
        at = bisect_left(range(count), prefix.encode(), key=lambda i: os.pread(index, ID_LENGTH, i * ENTRY))
        while at < count and (entry := os.pread(index, ENTRY, at * ENTRY)).startswith(prefix.encode()):
            yield _line_at(file, int(entry[ID_LENGTH + 1 :]), end)
            at += 1


def _line_at(file: int, offset: int, end: int) -> bytes:
    """Raises ValueError for a line that is longer than any task's: a file with holes has terabytes of nothing."""
    line = b""
    while b"\n" not in line and offset + len(line) < end:
        if len(line) > LONGEST_LINE:
            raise ValueError("no task is so long")
        line += os.pread(file, 4096, offset + len(line))
    return line.partition(b"\n")[0]


def _documents(path: Path, wanted: Set[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in _lines(path):
        seen = ID.match(line)
        if wanted is None or seen is None or seen[1].decode() in wanted:
            yield _document(path, number, line)


def _document(path: Path, number: int, line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        document = orjson.loads(line)
        if not WHOLE_ID.fullmatch(document["id"]):  # it names files and folders
            raise ValueError(f"{document['id'][:40]!r} is no id of a task")
        return document["id"], {**document["task"]}
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(f"{path}:{number}", error) from error


def _damaged(where: str, error: Exception) -> ToolkitError:
    return ToolkitError(f"{where} is damaged ({error}); restore it or delete the line")


def _task(path: Path, fields: dict[str, Any]) -> Task:
    """The task; equal recipes are one object, and checked once."""
    try:
        recipe = _recipe(orjson.dumps(fields["recipe"]))
        if _is_plain(fields):
            return Task.model_construct(None, **{**fields, "recipe": recipe})
        return Task.model_validate({**fields, "recipe": recipe})
    except ValidationError as error:
        raise ToolkitError(f"{path.parent} holds a damaged task: {first_problem(error)}") from error
    except (KeyError, TypeError) as error:
        raise ToolkitError(f"{path.parent} holds a damaged task ({error!r})") from error


TEXTS = ("architecture", "dataset", "dataset_hash", "manifest_hash", "recipe_name")
PLAIN = {*TEXTS, "recipe", "seed", "start"}


def _is_plain(fields: dict[str, Any]) -> bool:
    """Whether these are all fields of a task without a start, each of its type: pydantic would change nothing."""
    seed, texts = fields.get("seed"), all(type(fields.get(name)) is str for name in TEXTS)
    return texts and fields.keys() == PLAIN and fields["start"] is None and type(seed) is int and seed >= 0


@lru_cache(maxsize=4096)
def _recipe(document: bytes) -> Recipe:
    return Recipe.model_validate_json(document)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with regular(path) as (descriptor, size):
            if size > LARGEST:
                raise ToolkitError(f"{path} has {size:,} bytes, over the limit of {LARGEST:,}: it is no list of tasks")
            with os.fdopen(os.dup(descriptor), "rb") as file:
                yield from enumerate(file, 1)
    except OSError as error:
        raise ToolkitError(f"{path} cannot be read ({error.strerror})") from error
