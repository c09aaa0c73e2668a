"""Checks a dataset folder to the last byte: tables, labels, counts, content hash, and that every image decodes.

Whatever was changed, cut or zeroed since the dataset was written is found: every byte of a .beton is either checked
against another one, covered by the content hash of the manifest, or known to be zero. Classes, metric and moments
are covered by a hash of their own; mean and deviation are measured again where all images are decoded.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from toolkit.cli import complain, parser, print_json, run, say
from toolkit.errors import UsageError
from toolkit.study.dataset import MANIFEST, Manifest, data_root


def dataset_folder(given: str, data: Path | None) -> Path:
    """The folder of a dataset named by its folder, or by its name in the folder of datasets.

    Raises `UsageError` when there is none.
    """
    path = Path(given) if os.sep in given else data_root(data) / given
    if not (path / MANIFEST).is_file():
        raise UsageError(f"{path} is no dataset: it has no {MANIFEST}")
    return path


def _not_covered(folder: Path) -> str:
    """What cannot be checked of a dataset that an earlier version wrote."""
    known = Manifest.read(folder / MANIFEST).manifest_hash
    return "" if known else "; its manifest has no hash (an earlier version wrote it): classes and metric are as given"


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
    from data_prep.verification import verify

    folders = [dataset_folder(given, args.data) for given in args.datasets]
    found = {str(folder): verify(folder, args.decode, args.workers) for folder in folders}
    if args.json:
        print_json(found)
    for folder, problems in found.items():
        for problem in problems:
            complain(problem)
        if not problems and not args.json:
            say(f"{folder}: nothing wrong{_not_covered(Path(folder))}")
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    run(main)
