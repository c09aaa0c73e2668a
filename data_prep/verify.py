"""Checks a dataset folder to the last byte: tables, labels, counts, content hash, and that every image decodes.

Whatever was changed, cut or zeroed since the dataset was written is found: every byte of a .beton is either checked
against another one, covered by the content hash of the manifest, or known to be zero.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from toolkit.cli import complain, parser, print_json, run
from toolkit.errors import ToolkitError, UsageError
from toolkit.study.dataset import MANIFEST, Manifest, Split, data_root

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from data_prep.beton import Beton

CHUNK = 64
"""Images a worker decodes at a time."""


class _Range(NamedTuple):
    path: Path
    numbers: Sequence[int]

    def __str__(self) -> str:
        return f"sample {self.numbers[0]} of {self.path}"


def verify(folder: Path, decode: int | None = None, workers: int | None = None) -> list[str]:
    """All that is wrong with the dataset in ``folder``; an empty list when nothing is.

    ``decode``: how many images of each split to decode, evenly spread; None: all, 0: none. Raises `ToolkitError` when
    there is no readable manifest.
    """
    from data_prep.beton import content_hash

    manifest = Manifest.read(folder / MANIFEST)
    problems: list[str] = []
    records: dict[str, NDArray[np.void]] = {}
    for name, split in manifest.splits.items():
        try:
            records[name] = _check_split(folder / split.file, split, decode, workers, problems)
        except ToolkitError as error:
            problems.append(str(error))
    if len(records) == len(manifest.splits) and content_hash(records) != manifest.content_hash:
        problems.append(f"{folder}: images or labels are not those that were written (the content hash differs)")
    return problems


def _check_split(
    path: Path, split: Split, decode: int | None, workers: int | None, problems: list[str]
) -> "NDArray[np.void]":
    from data_prep.beton import Beton
    from data_prep.workers import available_cores

    workers = workers or available_cores()
    with Beton(path) as beton:
        problems += (f"{path}: {problem}" for problem in _differences(beton, split))
        problems += (f"{path}: {problem}" for problem in _undecodable(beton, decode, workers))
        return beton.content(threads=workers)


def _differences(beton: "Beton", split: Split) -> Iterator[str]:
    """Where the file is not what the manifest says, or holds bytes where none belong."""
    import numpy as np

    if beton.bytes != split.bytes:
        yield f"has {beton.bytes} bytes, the manifest says {split.bytes}"
    classes = len(split.class_counts)
    if beton.labels.min() < 0 or beton.labels.max() >= classes:
        yield f"has labels {beton.labels.min()} to {beton.labels.max()}, there are {classes} classes"
    elif tuple(np.bincount(beton.labels, minlength=classes).tolist()) != split.class_counts:
        yield "has other counts by class than the manifest"
    for start, end in beton.gaps():
        if beton.read(start, end).count(0) != end - start:
            yield f"is not zero between bytes {start} and {end}, where nothing belongs"


def _undecodable(beton: "Beton", decode: int | None, count: int) -> Iterator[str]:
    import numpy as np

    from data_prep.workers import workers

    numbers = np.arange(beton.samples)
    if decode is not None:
        numbers = numbers[np.unique(np.linspace(0, beton.samples - 1, min(decode, beton.samples)).astype(int))]
    tasks = (_Range(beton.path, numbers[i : i + CHUNK].tolist()) for i in range(0, len(numbers), CHUNK))
    with workers(count) as pool:
        for _, problems in pool.in_order(_decode, tasks):
            yield from problems


def _decode(task: _Range) -> list[str]:
    from data_prep.beton import Beton
    from data_prep.images import BadImage, decode

    problems = []
    with Beton(task.path) as beton:
        for number in task.numbers:
            try:
                decode(beton.image(number))
            except BadImage as reason:
                problems.append(f"sample {number}: {reason}")
    return problems


def dataset_folder(given: str, data: Path | None) -> Path:
    """The folder of a dataset named by its folder, or by its name in the folder of datasets.

    Raises `UsageError` when there is none.
    """
    path = Path(given) if os.sep in given else data_root(data) / given
    if not (path / MANIFEST).is_file():
        raise UsageError(f"{path} is no dataset: it has no {MANIFEST}")
    return path


def main(argv: Sequence[str]) -> int:
    """Check datasets; exit status 1 when anything is wrong."""
    options = parser("data_prep.verify", __doc__)
    options.add_argument("datasets", nargs="+", metavar="DATASET", help="a dataset's name or folder")
    options.add_argument("--data", type=Path, help="folder of datasets (default: TOOLKIT_DATA, else ./data)")
    options.add_argument("--decode", type=int, metavar="N", help="decode so many images of each split (default: all)")
    options.add_argument("--workers", type=int, metavar="N", help="processes (default: the cores this process may use)")
    options.add_argument("--json", action="store_true", help="print the problems by dataset on stdout")
    args = options.parse_args(argv)
    if (args.workers is not None and args.workers < 1) or (args.decode is not None and args.decode < 0):
        raise UsageError("--workers is at least 1, --decode at least 0")
    folders = [dataset_folder(given, args.data) for given in args.datasets]
    found = {str(folder): verify(folder, args.decode, args.workers) for folder in folders}
    if args.json:
        print_json(found)
    for folder, problems in found.items():
        for problem in problems:
            complain(problem)
        if not problems and not args.json:
            print(f"{folder}: nothing wrong")
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    run(main)
