"""Dataset: a folder with one ``.beton`` per split and ``dataset.json``, its manifest."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from toolkit.errors import UsageError
from toolkit.names import unknown
from toolkit.study.model import FrozenModel

USUAL_REFERENCE = "imagenet"
"""Name of the dataset that others are compared with, where a study has it."""
MANIFEST = "dataset.json"
CLAIMS = ("classes", "class_names", "content_hash", "mean", "mean_over", "metric", "std")
"""Fields of a manifest that a result's meaning rests on: what is measured, on which classes, of which images."""
Metric = Literal["top1", "top5"]


class Split(FrozenModel):
    """One ``.beton`` file: its name in the folder, size in bytes, and labels counted."""

    file: str = Field(pattern=r"^[^/\x00]+$")
    bytes: int = Field(ge=1)
    samples: int = Field(ge=1)
    class_counts: tuple[int, ...]
    """Images by class, in the order of `Manifest.classes`."""

    @model_validator(mode="after")
    def _counts_add_up(self) -> "Split":
        if sum(self.class_counts) != self.samples:
            raise ValueError(f"class_counts add up to {sum(self.class_counts)}, samples is {self.samples}")
        return self


class Skipped(FrozenModel):
    """A source image that was left out, and why."""

    source: str
    reason: str


class Encoding(FrozenModel):
    """How the images lie in the file (FFCV's names)."""

    write_mode: Literal["jpg", "raw", "proportion"] = "jpg"
    max_resolution: int | None = None
    """Longest or shortest side in pixels after writing; None: as the source."""
    side: Literal["longest", "shortest"] = "longest"
    jpeg_quality: int = Field(90, ge=1, le=100)
    raw_proportion: float | None = None
    grey_bits: int = Field(16, ge=1, le=16)
    """The largest number of so many bits is white where a source's 16-bit grey states no range."""


class Parent(FrozenModel):
    """Where a subset comes from."""

    name: str
    content_hash: str
    seed: int | None = None
    """None: the classes were listed, not drawn."""
    classes: tuple[str, ...] = ()
    note: dict[str, Any] = Field(default_factory=dict)
    """What else was done: cap on images per class, label noise, merges."""


class Manifest(FrozenModel):
    """The document ``dataset.json``."""

    version: Literal[1] = 1
    name: str
    title: str = ""
    source: str = ""
    """Where the images come from and under what licence, in a line."""
    classes: tuple[str, ...] = Field(min_length=1)
    """Class ids in the order of labels 0..k-1."""
    class_names: tuple[str, ...] = ()
    """Names for people, in the same order; empty: the ids serve."""
    splits: dict[str, Split]
    encoding: Encoding = Encoding()
    image_size: tuple[int, int]
    """Largest height and width in pixels of any image of the folder."""
    mean: tuple[float, float, float]
    """Per channel (R, G, B), in 0..1, over the training split (or the sample that ``mean_over`` says)."""
    std: tuple[float, float, float]
    mean_over: int = 0
    """Images that mean and std were measured on; 0: all of the training split."""
    metric: Metric = "top1"
    """The error that counts on this dataset."""
    content_hash: str
    """BLAKE3 over labels and encoded images in order, split after split (train first)."""
    skipped: tuple[Skipped, ...] = ()
    max_bad: int | None = Field(None, ge=0)
    """Images that may be missing: when the set is written, and as corrupt in an epoch. None: it was not recorded."""
    split_rule: str = ""
    """How train and val were told apart when the source has no validation split (share, seed)."""
    parent: Parent | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)
    """What a source wants to add (options, versions, a funnel of counts)."""
    manifest_hash: str = ""
    """SHA-256 over the fields of `CLAIMS`; empty: written before there was one."""

    def sealed(self) -> Self:
        """The same with its `manifest_hash`."""
        return self.model_copy(update={"manifest_hash": self._claims_hash()})

    def _claims_hash(self) -> str:
        claims = json.dumps(self.model_dump(mode="json", include=set(CLAIMS)), sort_keys=True)
        return hashlib.sha256(claims.encode()).hexdigest()

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        if self.manifest_hash and self.manifest_hash != self._claims_hash():
            raise ValueError(f"{', '.join(CLAIMS)} are not those that were written: restore it, or write it again")
        for key, split in self.splits.items():
            if len(split.class_counts) != len(self.classes):
                raise ValueError(f"splits.{key} counts {len(split.class_counts)} classes of {len(self.classes)}")
        if self.class_names and len(self.class_names) != len(self.classes):
            raise ValueError(f"{len(self.class_names)} class_names for {len(self.classes)} classes")
        return self

    def losable(self, split: str) -> int:
        """Corrupt samples of a split that an epoch may leave out; more, and the rest is no longer the set."""
        return max(1, self.splits[split].samples // 100) if self.max_bad is None else self.max_bad


class Dataset(NamedTuple):
    """A dataset folder that was looked at: its manifest fits the files beside it."""

    path: Path
    manifest: Manifest

    def beton(self, split: str) -> Path:
        """The path of a split's ``.beton`` file."""
        return self.path / self.manifest.splits[split].file


def data_root(given: str | Path | None = None) -> Path:
    """The folder of datasets: ``given``, else ``TOOLKIT_DATA``, else ``./data``."""
    return Path(given or os.environ.get("TOOLKIT_DATA") or "data")


def find_dataset(name: str, data: str | Path | None = None) -> Dataset:
    """Open the dataset ``name`` under the data root.

    Raises `UsageError` for an unknown name (with the known ones), a folder without manifest, a missing split
    or a file whose size is not the one the manifest recorded (a truncated copy). Costs one ``stat`` a split.
    """
    root = data_root(data)
    path = root / name
    if not path.is_dir():
        known = sorted(p.parent.name for p in root.glob(f"*/{MANIFEST}"))
        advice = f"in {root}; give --data or set TOOLKIT_DATA, or write one: python -m data_prep.synthetic"
        raise unknown("dataset", name, known, advice)
    if not (path / MANIFEST).is_file():
        raise UsageError(f"{path} has no {MANIFEST}: it is no finished dataset; write it again with data_prep")
    manifest = Manifest.read(path / MANIFEST)
    for key in ("train", "val"):
        _check_split(path, manifest, key)
    return Dataset(path, manifest)


def _check_split(path: Path, manifest: Manifest, key: str) -> None:
    if key not in manifest.splits:
        raise UsageError(f"{path / MANIFEST} has no split {key!r}: training needs train and val")
    split = manifest.splits[key]
    file = path / split.file
    size = file.stat().st_size if file.is_file() else None
    if size is None:
        raise UsageError(f"{file} is missing: copy it again, or write the dataset anew")
    if size != split.bytes:
        raise UsageError(
            f"{file} has {size} bytes, its manifest says {split.bytes}: it is truncated or changed; copy it again "
            f"(python -m data_prep.verify {path} says what is wrong)"
        )
