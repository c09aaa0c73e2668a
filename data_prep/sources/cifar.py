"""CIFAR-10 and CIFAR-100: 60,000 pictures of 32 x 32 pixels (Krizhevsky 2009).

Where from:  https://www.cs.toronto.edu/~kriz/cifar.html, the "python version"
Licence:     none stated; the pictures come from the web (Tiny Images), cite the report
Expects:     ROOT/cifar-10-python.tar.gz or ROOT/cifar-10-batches-py/ (data_batch_1 to 5, test_batch, batches.meta), or
             ROOT/cifar-100-python.tar.gz or ROOT/cifar-100-python/ (train, test, meta)

The test batch is the validation split. Pictures are stored raw: at this size a JPEG saves little and would add errors
of its own. CIFAR-100 has its 100 fine classes, and top-5 is the error that counts. The distributed files are pickles,
which could run any code; they are read by an unpickler that makes numbers, texts and lists and nothing else.
"""

import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from data_prep.sources import source as sources
from data_prep.sources.source import Found, Source
from data_prep.storage.samples import Sample
from data_prep.storage.tar_entries import LARGEST_ARCHIVE, content_of
from toolkit.errors import ToolkitError
from toolkit.files import read_regular

if TYPE_CHECKING:
    from toolkit.imagefile.format import Pixels

T = TypeVar("T")

SIDE = 32  # pixels
PICTURE = 3 * SIDE * SIDE  # bytes
KNOWN = frozenset(
    {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
    }
)
"""What an array is made of, as pickles of either version of NumPy name it."""


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
    return sources.run(args, SOURCES[args.classes], lambda: find(args.root, DISTRIBUTIONS[args.classes]))


def find(root: Path, distribution: Distribution) -> Found:
    """All pictures, in the order of the files."""
    train = [sample for name in distribution.train for sample in _pictures(root, distribution, name)]
    splits = {"train": train, "val": _pictures(root, distribution, distribution.test)}
    names = _checked(root, distribution, distribution.meta, lambda read: _names(read[distribution.names]))
    if stranger := next((sample for of in splits.values() for sample in of if sample.label >= len(names)), None):
        raise ToolkitError(f"{root}: {stranger.key} has label {stranger.label}, and there are {len(names)} classes")
    return Found(splits, names, split_rule=f"{distribution.test} is val")


def _pictures(root: Path, distribution: Distribution, name: str) -> list[Sample]:
    def both(batch: Mapping[bytes, Any]) -> "tuple[Pixels, list[int]]":
        return _pixels(batch[b"data"]), _labels(batch[distribution.labels])

    pixels, labels = _checked(root, distribution, name, both)
    if len(pixels) != len(labels):
        raise ToolkitError(f"{name} in {root} has {len(pixels)} pictures and {len(labels)} labels; fetch it again")
    return [Sample(f"{name}/{i}", label, pixels[i]) for i, label in enumerate(labels)]


def _pixels(array: Any) -> "Pixels":
    """Pictures (n, SIDE, SIDE, 3) from the parts of an array: version, shape, type, column order, bytes."""
    _, shape, kind, is_by_columns, content = array.state
    if kind.parts[0] not in (b"u1", "u1") or is_by_columns or not isinstance(content, bytes):
        raise ValueError(f"pictures are no bytes in rows but {kind.parts[0]!r}")
    if list(shape) != [len(content) // PICTURE, PICTURE] or len(content) % PICTURE:
        raise ValueError(f"{len(content)} bytes are no pictures")
    return np.frombuffer(content, np.uint8).reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)


def _labels(found: Any) -> list[int]:
    if isinstance(found, list) and all(type(label) is int and label >= 0 for label in found):
        return found
    raise ValueError("labels are no list of numbers")


def _names(found: Any) -> list[str]:
    if isinstance(found, list):
        return [name.decode() for name in found]
    raise ValueError("the classes' names are no list")


def _checked(root: Path, distribution: Distribution, name: str, take: Callable[[Mapping[bytes, Any]], T]) -> T:
    """What ``take`` makes of a pickled file. Raises `ToolkitError` when it cannot."""
    content = _content(root, distribution, f"{distribution.folder}/{name}")
    try:
        return take(dict(_Unpickler(io.BytesIO(content), encoding="bytes").load()))
    except Exception as error:  # a damaged pickle may raise anything
        raise ToolkitError(f"{name} in {root} is damaged or no file of CIFAR ({error}); fetch it again") from error


def _content(root: Path, distribution: Distribution, name: str) -> bytes:
    if (root / name).is_file():
        return read_regular(root / name, LARGEST_ARCHIVE)
    archive = root / distribution.archive
    if not archive.is_file():
        raise sources.wrong_layout(root, f"{distribution.archive} or {name}")
    return content_of(archive, name)


class _Recorded:
    """Stands for an object of the pickle and does nothing but keep what it would have been made of."""

    def __init__(self, *parts: Any) -> None:
        self.parts, self.state = parts, None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _listed(count: int) -> Callable[[Any], None]:
    """What to do for a tuple of ``count`` things: make a list of them."""

    def load(reader: Any) -> None:
        reader.stack[-count:] = [reader.stack[-count:]]

    return load


OPCODES = pickle._Unpickler.dispatch


class _Unpickler(pickle._Unpickler):
    """Makes numbers, texts, lists and dictionaries, and a `_Recorded` of each part of an array: no code of NumPy runs.

    The unpickler that is written in Python, for that in C makes room for any number of objects that a pickle claims.
    Tuples become lists: one that holds another twice, which does so too, would take for ever as a dictionary's key.
    """

    dispatch = OPCODES | {
        pickle.EMPTY_TUPLE[0]: OPCODES[pickle.EMPTY_LIST[0]],
        pickle.TUPLE[0]: OPCODES[pickle.LIST[0]],
        pickle.FROZENSET[0]: OPCODES[pickle.LIST[0]],
        **{code[0]: _listed(n) for n, code in enumerate((pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3), 1)},
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in KNOWN:
            return _Recorded
        raise pickle.UnpicklingError(f"{module}.{name} has no place in it")
