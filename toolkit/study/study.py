"""Study: the folder ``runs/NAME`` that every node mounts."""

import os
import time
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ToolkitError, UsageError
from toolkit.files import TEMPORARY, make_folder, of_another, read_private, read_regular, temporary_name, write_private
from toolkit.names import unknown
from toolkit.study import declared
from toolkit.study.dataset import MANIFEST
from toolkit.study.progress import Progress
from toolkit.study.ranges import format_ranges
from toolkit.study.result import Result
from toolkit.study.task import Task

FINAL = "final.pt"
WEIGHTS_VERSION = 1
"""Format of `FINAL` and of checkpoints: a dictionary with version, task, architecture, classes and model."""
HALVING = "halving.json"
"""The rule of a study whose weak nets are cut off before their end (`toolkit.planning.halving`)."""
DIRECTORIES = ("tasks", "submissions", "logs", "progress", "checkpoints", "results")


@dataclass(frozen=True)
class Study:
    """A study's folder and the places in it. Holds no state: the folder is the truth."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    def room(self, name: str) -> Path:
        """One of the folders of `DIRECTORIES`."""
        return self.path / name

    def result_path(self, task_id: str) -> Path:
        """``results/ID.json``."""
        return self.path / "results" / f"{task_id}.json"

    def progress_path(self, task_id: str) -> Path:
        """``progress/ID.json``."""
        return self.path / "progress" / f"{task_id}.json"

    def checkpoint_folder(self, task_id: str) -> Path:
        """``checkpoints/ID/``."""
        return self.path / "checkpoints" / task_id

    def final_weights(self, task_id: str) -> Path | None:
        """The final weights of a task; None when there are none."""
        own = self.checkpoint_folder(task_id) / FINAL
        return own if own.is_file() else None

    def has_final(self, task_id: str) -> bool:
        """Whether a transfer can start from the task."""
        return self.final_weights(task_id) is not None

    @property
    def halved(self) -> bool:
        """Whether weak nets are cut off: those that are left are no sample of the design space."""
        return (self.path / HALVING).exists()

    @classmethod
    def create(cls, path: str | Path) -> "Study":
        """Open the study at ``path``, made if need be. Raises `ToolkitError` when it cannot be written."""
        study = cls(study_path(path))
        try:
            for name in DIRECTORIES:
                make_folder(study.room(name))
        except OSError as error:
            raise ToolkitError(f"study {study.path} cannot be made ({error.strerror}: {error.filename})") from error
        study.refuse_links_of_others()
        for name in ("results", "submissions"):
            if not os.access(study.room(name), os.W_OK | os.X_OK):
                raise ToolkitError(
                    f"{study.room(name)} is not writable: change its permissions, or name another --study"
                )
        return study

    @classmethod
    def open(cls, path: str | Path) -> "Study":
        """Open a study that is there. Raises `UsageError` otherwise, with the studies that are."""
        study = cls(study_path(path))
        if not study.room("tasks").is_dir():
            known = [p.parent.name for p in study.path.parent.glob("*/tasks")]
            raise unknown("study", str(path), known, f"in {study.path.parent}")
        study.refuse_links_of_others()
        return study

    def refuse_links_of_others(self) -> None:
        """Raise `ToolkitError` where one of its folders is another user's link: it may lead anywhere, at any time."""
        for room in map(self.room, (*DIRECTORIES, "nets", "rungs")):
            if room.is_symlink() and (whose := of_another(room)):
                raise ToolkitError(f"{room} is a link and {whose}: make a folder or a link of your own of it")

    def keep(self, texts: Mapping[str, str]) -> None:
        """Keep sources and populations that tasks name, in ``nets/``. Raises `ToolkitError` when there is no room."""
        for name, text in texts.items():
            path = self.room("nets") / name
            try:
                make_folder(path.parent)
                if not path.exists():
                    write_private(path, text.encode())
            except OSError as error:
                raise ToolkitError(f"{path} cannot be written ({error.strerror})") from error

    def texts(self) -> dict[str, str]:
        """What `keep` kept, by file name. A source that others may write is left out: it would be run."""
        texts = {}
        for path in sorted(self.room("nets").glob("[!.]*@*.*")):
            try:
                content = read_regular(path) if path.suffix == ".json" else read_private(path)
                if content is not None:
                    texts[path.name] = content.decode()
            except (OSError, UnicodeDecodeError) as error:
                raise ToolkitError(f"{path} cannot be read ({error})") from error
        return texts

    def declare(self, tasks: Iterable[Task], known: Mapping[str, declared.Label] | None = None) -> dict[str, str]:
        """Add tasks to those the study is about. Declaring again what is declared changes nothing.

        ``known``: the study's `labels`, if they were read already.

        Returns names of datasets that are, by their content, others that stand here already: by the name that stands.
        Raises `UsageError` where a task was declared on a manifest that said something else.
        """
        tasks = list(tasks)
        known = self.labels() if known is None else known
        fresh = {task.id: task for task in tasks if task.id not in known}
        again = [task for task in tasks if task.id in known]
        for task in again:
            self._check_manifest(task, known[task.id])
        if fresh:
            declared.add(self.room("tasks"), fresh)
        columns = {(task.column, known[task.id].column) for task in again}
        return {given: stands for given, stands in columns if given != stands}

    def _check_manifest(self, task: Task, known: declared.Label) -> None:
        """Raise `UsageError` when ``task`` was ``known`` with another manifest; version 0.1 noted none."""
        if known.manifest_hash not in ("", task.manifest_hash):
            raise UsageError(
                f"classes, metric, mean or deviation in the {MANIFEST} of {task.dataset} are not those that study "
                f"{self.path} was declared with: restore it, or launch another study"
            )

    def tasks(self, wanted: Set[str] | None = None) -> dict[str, Task]:
        """Declared tasks by id, in the order of declaration: all, or those of the ``wanted`` ids.

        Raises `ToolkitError` on a damaged file.
        """
        folder = self.room("tasks")
        return declared.every(folder) if wanted is None else declared.some(folder, wanted)

    def labels(self) -> dict[str, declared.Label]:
        """What people know the declared tasks by, in the order of declaration: a fraction of `tasks`' time and memory.

        Raises `ToolkitError` on a damaged file.
        """
        return declared.labels(self.room("tasks"))

    def task(self, task_id: str) -> Task:
        """One declared task; a prefix of its id will do when it is unique. Raises `UsageError` otherwise."""
        found = declared.beginning_with(self.room("tasks"), task_id)
        if len(found) != 1:
            what = "is no task" if not found else f"fits {len(found)} tasks"
            raise UsageError(f"{task_id!r} {what} of study {self.path}; see python -m toolkit.status {self.path}")
        return next(iter(found.values()))

    def find(self, what: str, dataset: str | None = None, seed: int | None = None) -> str:
        """The id of the one task that ``what`` means: an id, a unique beginning of one, or an architecture's name.

        ``dataset`` (as status names it) and ``seed`` tell tasks of one architecture apart. Raises `UsageError`.
        """
        if "/" not in what and dataset is None and seed is None:
            return self.task(what).id
        found = {
            task_id: label
            for task_id, label in self.labels().items()
            if (what == label.architecture or task_id.startswith(what))
            and dataset in (None, label.column)
            and seed in (None, label.seed)
        }
        if len(found) == 1:
            return next(iter(found))
        asked = declared.Label(what, dataset or "any dataset", seed or 0, "").named(seed is not None)
        if not found:
            raise UsageError(
                f"{asked} is no task of study {self.path}; python -m toolkit.status {self.path} --ids lists"
            )
        columns, seeds = {label.column for label in found.values()}, {label.seed for label in found.values()}
        raise UsageError(
            f"{asked} fits {len(found)} tasks: give --dataset ({', '.join(sorted(columns))}) and --seed "
            f"({format_ranges(seeds)})"
        )

    def finished(self) -> set[str]:
        """Ids with a result of any status (one listing of the folder, no file is read)."""
        names = (entry.name for entry in os.scandir(self.room("results")))
        return {name[:-5] for name in names if name.endswith(".json") and not name.startswith(TEMPORARY)}

    def result(self, task_id: str) -> Result | None:
        """A task's result, or None while there is none. Raises `ToolkitError` when it cannot be read as one."""
        path = self.result_path(task_id)
        return Result.read(path) if path.is_file() else None

    def clock(self) -> float:
        """Unix time by the file system's clock, which stamps heartbeats and records; the nodes' own clocks may differ.

        Where nothing can be written it is this machine's.
        """
        probe = temporary_name(self.room("submissions") / "clock")
        try:
            probe.touch()
            seen = probe.stat().st_mtime
            probe.unlink()
        except OSError:
            return time.time()
        return seen

    def last_beat(self, task_id: str) -> float:
        """When the task's heartbeat was written, by the same clock; 0 where there is none."""
        try:
            return self.progress_path(task_id).stat().st_mtime
        except OSError:
            return 0.0

    def progress(self, task_id: str) -> Progress | None:
        """A task's last heartbeat, or None. A file caught half-copied counts as none."""
        try:
            return Progress.read(self.progress_path(task_id))
        except ToolkitError:
            return None


def study_path(given: str | Path) -> Path:
    """A `Path`, and a text with a slash, as they are; another text is a name: ``runs/NAME`` (``TOOLKIT_RUNS``/NAME)."""
    text = str(given)
    if not text or text in (".", ".."):
        raise UsageError(f"{text!r} is no name for a study")
    if isinstance(given, Path) or os.sep in text:
        return Path(text)
    return Path(os.environ.get("TOOLKIT_RUNS") or "runs") / text
