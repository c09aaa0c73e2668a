"""What the images were when a dataset was written: beside each ``.beton`` a file with the digest of every image.

32 bytes a sample, in order, covered by the manifest's content hash. With them `data_prep.verify` names the images that
have changed since, and a subset knows its digests without hashing again: images of the parent that a disk has spoiled
are found in the subset too, where a new hash would have taken them for what was meant.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.files import read_regular, write_atomic
from toolkit.imagefile.format import DIGEST_SIZE, broken, content_hash
from toolkit.imagefile.reader import Beton
from toolkit.imagefile.writer import BetonWriter
from toolkit.study.dataset import Manifest


def digests_file(beton: Path) -> Path:
    """Where the digests of a ``.beton`` file are."""
    return beton.with_suffix(".digests")


def write_digests(beton: BetonWriter) -> None:
    """Write the digests of all samples of ``beton``, beside it."""
    write_atomic(digests_file(beton.path), beton.content["digest"].tobytes())


def as_recorded(beton: Path, records: NDArray[np.void]) -> NDArray[np.void]:
    """The `CONTENT` records of a ``.beton`` file's samples, (n,), with the digests of when it was written.

    Raises `ToolkitError` when the file of digests is not there or has another number of them.
    """
    path, recorded = digests_file(beton), records.copy()
    try:
        content = read_regular(path, len(records) * DIGEST_SIZE)
    except OSError as error:
        raise broken(path, f"it cannot be read ({error.strerror})") from error
    if len(content) != len(records) * DIGEST_SIZE:
        raise broken(path, f"it has {len(content)} bytes, not {DIGEST_SIZE} for each of {len(records)} samples")
    recorded["digest"] = np.frombuffer(content, "u1").reshape(-1, DIGEST_SIZE)
    return recorded


def written(betons: Mapping[str, Beton], manifest: Manifest) -> dict[str, NDArray[np.void]]:
    """The `CONTENT` records of a dataset's samples, by split, without a look at the images.

    Raises `ToolkitError` when tables and digests are not those of which the manifest has the content hash.
    """
    found = {name: as_recorded(beton.path, beton.records(np.arange(beton.samples))) for name, beton in betons.items()}
    if content_hash(found) != manifest.content_hash:
        folder = next(iter(betons.values())).path.parent
        raise broken(folder, f"labels or digests are not those that were written (data_prep.verify {folder} says more)")
    return found
