"""CIFAR-10 and CIFAR-100: 60,000 pictures of 32 x 32 pixels (Krizhevsky 2009).

Where from:  https://www.cs.toronto.edu/~kriz/cifar.html, the "python version"
Licence:     none stated; the pictures come from the web (Tiny Images), cite the report
Expects:     ROOT/cifar-10-python.tar.gz or ROOT/cifar-10-batches-py/ (data_batch_1 to 5, test_batch, batches.meta), or
             ROOT/cifar-100-python.tar.gz or ROOT/cifar-100-python/ (train, test, meta)

The test batch is the validation split. Pictures are stored raw: at this size a JPEG saves little and would add errors
of its own. CIFAR-100 has its 100 fine classes, and top-5 is the error that counts. The distributed files are pickles,
which could run any code; they are read by an unpickler that knows numbers, lists and arrays and nothing else.
"""

import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data_prep.sources import source as sources
from data_prep.sources.source import Found, Source
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from data_prep.storage.samples import Sample

SIDE = 32  # pixels


class Distribution(NamedTuple):
    """How one of the two sets is distributed."""

    archive: str
    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: bytes
    names: bytes


DISTRIBUTIONS = {
    10: Distribution(
        "cifar-10-python.tar.gz",
        "cifar-10-batches-py",
        tuple(f"data_batch_{n}" for n in range(1, 6)),
        "test_batch",
        "batches.meta",
        b"labels",
        b"label_names",
    ),
    100: Distribution(
        "cifar-100-python.tar.gz", "cifar-100-python", ("train",), "test", "meta", b"fine_labels", b"fine_label_names"
    ),
}
ORIGIN = (
    "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images, cs.toronto.edu/~kriz/cifar.html; "
    "no licence stated"
)
SOURCES = {
    10: Source("cifar10", "CIFAR-10", ORIGIN, write_mode="raw"),
    100: Source("cifar100", "CIFAR-100", ORIGIN, metric="top5", write_mode="raw"),
}


def main(argv: Sequence[str]) -> int:
    """Write one of the two datasets."""
    options = sources.options("cifar", __doc__, SOURCES[10]._replace(name="cifar10 or cifar100"))
    options.add_argument("--classes", type=int, choices=(10, 100), default=10, help="which set (default: 10)")
    args = options.parse_args(argv)
    return sources.write(args, SOURCES[args.classes], lambda: find(args.root, DISTRIBUTIONS[args.classes]))


def find(root: Path, distribution: Distribution) -> Found:
    """All pictures, in the order of the files."""
    train = [sample for name in distribution.train for sample in _pictures(root, distribution, name)]
    splits = {"train": train, "val": _pictures(root, distribution, distribution.test)}
    names = _unpickled(root, distribution, distribution.meta)[distribution.names]
    return Found(splits, [name.decode() for name in names], split_rule=f"{distribution.test} is val")


def _pictures(root: Path, distribution: Distribution, name: str) -> "list[Sample]":
    from data_prep.storage.samples import Sample

    batch = _unpickled(root, distribution, name)
    pixels = batch[b"data"].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return [Sample(f"{name}/{i}", int(label), pixels[i]) for i, label in enumerate(batch[distribution.labels])]


def _unpickled(root: Path, distribution: Distribution, name: str) -> dict[bytes, Any]:
    content = _content(root, distribution, f"{distribution.folder}/{name}")
    try:
        return dict(_Unpickler(io.BytesIO(content), encoding="bytes").load())
    except Exception as error:  # a damaged pickle may raise anything
        raise ToolkitError(f"{name} in {root} is damaged or no file of CIFAR ({error}); fetch it again") from error


def _content(root: Path, distribution: Distribution, name: str) -> bytes:
    from data_prep.storage.tar_entries import content_of

    if (root / name).is_file():
        return (root / name).read_bytes()
    archive = root / distribution.archive
    if not archive.is_file():
        raise sources.wrong_layout(root, f"{distribution.archive} or {name}")
    return content_of(archive, name)


class _Unpickler(pickle.Unpickler):
    """Knows the parts of an array, and no function that could do harm."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.ndarray.__reduce__(np.empty(0))[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in it")
