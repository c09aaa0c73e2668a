"""Scan: all results of a study as one polars frame. A file that is no result is named, never fatal, never silent."""

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from toolkit.errors import ToolkitError
from toolkit.files import TEMPORARY, read_regular
from toolkit.study.recipe import Recipe
from toolkit.study.result import Result
from toolkit.study.study import Study

if TYPE_CHECKING:
    import polars

READERS = 8
"""Threads where reading waits for the file system; where it does not, they would only wait for one another."""
SLOW_FILE_S = 0.0005
"""Seconds a file from which the file system is what is waited for (a cached result takes a tenth)."""
FILES_AT_ONCE = 500
"""Files that one thread reads in a go: their rows are kept, their text is not."""

Row = tuple[Any, ...]


class Scan(NamedTuple):
    """One row a result, and one line for each file in results/ that is none."""

    frame: "polars.DataFrame"
    problems: list[str]


def columns() -> dict[str, Any]:
    """Names and types of a scan's frame. Errors are shares (0..1), times seconds, flops multiply-adds."""
    from polars import Float64, Int64, String

    return {
        "id": String, "architecture": String, "dataset": String, "dataset_hash": String, "recipe": String,
        "recipe_id": String, "seed": Int64, "status": String, "metric": String, "classes": Int64, "error": Float64,
        "wrong": Int64, "images": Int64, "epochs": Int64, "flops": Int64, "params": Int64,
        "activations": Int64, "resolution": Int64, "total_s": Float64, "images_per_s": Float64, "failure": String,
    }  # fmt: skip


def scan(study: Study) -> Scan:
    """Read every ``results/*.json`` of ``study``.

    Only the fields of `columns` are taken out; a file that lacks one is read again through `Result`, which says what
    is wrong with it. A document whose id is not its file's name is a problem too: it would count twice.
    """
    import polars

    folder = study.room("results")
    entries = [entry.name for entry in os.scandir(folder)] if folder.is_dir() else []
    names = sorted(name for name in entries if name.endswith(".json") and not name.startswith(TEMPORARY))
    parts = [names[i : i + FILES_AT_ONCE] for i in range(0, len(names), FILES_AT_ONCE)]
    frames, problems = [polars.DataFrame(schema=columns())], []
    for rows, troubles in _read_parts(folder, parts):
        frames.append(polars.DataFrame(rows, schema=columns(), orient="row"))
        problems.extend(troubles)
    return Scan(polars.concat(frames), problems)


def _read_parts(folder: Path, parts: Sequence[Sequence[str]]) -> Iterator[tuple[list[Row], list[str]]]:
    """The parts in order; the first one tells whether the rest is read by several threads."""
    start = time.perf_counter()
    yield from (_read_part(folder, part) for part in parts[:1])
    slow = bool(parts) and time.perf_counter() - start > SLOW_FILE_S * len(parts[0])
    with ThreadPoolExecutor(READERS if slow else 1) as pool:
        yield from pool.map(lambda part: _read_part(folder, part), parts[1:])


def _read_part(folder: Path, names: Sequence[str]) -> tuple[list[Row], list[str]]:
    rows, problems = [], []
    for name in names:
        try:
            rows.append(_row(read_regular(f"{folder}/{name}"), name))
        except OSError as error:
            problems.append(f"{folder / name} cannot be read ({error.strerror})")
        except (LookupError, TypeError, ValueError, ToolkitError) as error:
            problems.append(_diagnosis(folder / name, error))
    return rows, problems


def _row(content: bytes, name: str) -> Row:
    """The values of `columns`. Raises LookupError, TypeError or ValueError when the document is no result."""
    document = orjson.loads(content)
    task, metric, status = document["task"], document["metric"], document["status"]
    if document["id"] + ".json" != name:
        raise ToolkitError(f"holds the result of task {document['id']}: a copy under another name; delete it")
    wrong = images = error = epochs = None
    if status == "done":
        last = document["evaluations"][-1]
        wrong, images, epochs = last[f"wrong_{metric}"], last["images"], last["epoch"]
        error = wrong / images
    elif status not in ("failed", "diverged"):
        raise ValueError(status)
    start, failure, timing = task.get("start"), document.get("failure"), document["timing"]
    return (
        document["id"],
        task["architecture"],
        f"{task['dataset']}<-{start['dataset']}" if start else task["dataset"],
        task["dataset_hash"],
        task.get("recipe_name", ""),
        recipe_id(orjson.dumps(task["recipe"])),
        task.get("seed", 0),
        status,
        metric,
        document["classes"],
        error,
        wrong,
        images,
        epochs,
        document.get("flops"),
        document.get("params"),
        document.get("activations"),
        document.get("resolution"),
        float(timing["total_s"]),
        timing.get("images_per_s"),
        f"{failure['kind']}: {failure['message']}" if failure else None,
    )


@lru_cache(maxsize=4096)
def recipe_id(document: bytes) -> str:
    """6 hex digits that differ between recipes that train differently, whatever their file or name."""
    differing = Recipe.model_validate_json(document).model_dump_json(exclude_defaults=True)
    return hashlib.sha256(differing.encode()).hexdigest()[:6]


def _diagnosis(path: Path, error: Exception) -> str:
    """What is wrong with a file that gave no row, in a line."""
    if isinstance(error, ToolkitError):
        return f"{path} {error}"
    try:
        Result.read(path)
    except ToolkitError as problem:
        return str(problem)
    return f"{path} is no result: {type(error).__name__}: {error}"
