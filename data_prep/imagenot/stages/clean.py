"""Stage clean: unreadable, tiny, flat and duplicate images are found; each one left out is listed with its reason."""

import io
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.imagenot import options
from data_prep.imagenot.build import Advance, Build, Counts, unseen, write, write_table
from data_prep.imagenot.legible import is_legible
from data_prep.imagenot.stages import classes, download
from data_prep.imagenot.states import SUCCESS
from toolkit.errors import ToolkitError, UsageError
from toolkit.study.dataset import find_dataset

if TYPE_CHECKING:
    from PIL.Image import Image

Hashes = NDArray[np.uint64]
KEPT = "kept.parquet"
REASONS = ("unreadable", "tiny", "flat", "legible", "placeholder", "in_other", "taken_down", "duplicate")
COPIES = 5
"""URLs of one class that may have the very same file (our choice): of more, it stands for images that are gone."""


class Look(NamedTuple):
    """What is known of one image."""

    key: str
    start: int
    """Where its bytes begin in the tar."""
    size: int
    reason: str | None
    """Why it is left out, or None."""
    phash: int


def shards(build: Build) -> list[str]:
    """One for each finished shard of download."""
    return [shard for shard in download.shards(build) if build.is_finished("download", shard)]


def run(build: Build, shard: str, advance: Advance = unseen) -> None:
    """Look at every image of one tar."""
    tar = build.need("download", f"{shard}/00000.tar")
    names = class_names(build, shard) if build.options.clean.legible == "drop" else {}
    looks = []
    for key, start, content in read_tar(tar):
        looks.append(_look(key, start, content, build.options.clean, names.get(key)))
        advance(1)
    schema = {"key": pl.String, "start": pl.Int64, "size": pl.Int64, "reason": pl.String, "phash": pl.UInt64}
    output = build.room("clean") / f"{shard}.parquet"
    write_table(output, pl.DataFrame(looks, schema=schema, orient="row").sort("key"))
    build.finish("clean", shard, {"images": len(looks)})


def finish(build: Build) -> Counts:
    """From all looks: what is kept (``kept.parquet``, at most the set's number a class) and ``removed.parquet``."""
    build.remove_leftovers("clean")
    distance = build.options.clean.distance
    images = all_looks(build).sort("rank", "class")
    images = images.with_columns(reason=pl.coalesce("reason", pl.when(is_placeholder()).then(pl.lit("placeholder"))))
    for reason, others in (("in_other", against(build)), ("taken_down", download.taken_down(build).phashes)):
        near = partial(near_any, others=np.array(others, np.uint64), distance=distance)
        images = _left_out(images, reason, near)
    images = _left_out(images, "duplicate", partial(duplicates, distance=distance))
    kept = images.filter(pl.col("reason").is_null())
    within = kept.filter(pl.int_range(pl.len()).over("class") < build.options.select.per_class)
    out = images.filter(pl.col("reason").is_not_null())
    write_table(build.room("clean") / KEPT, within.drop("reason"))
    write_table(build.room("clean") / "removed.parquet", out.drop("phash"))
    reasons = dict.fromkeys(REASONS, 0) | dict(out["reason"].value_counts().iter_rows())
    return {"images": len(images), **reasons, "surplus": len(kept) - len(within), "kept": len(within)}


def is_placeholder() -> pl.Expr:
    """Whether the very same file came for several classes, or for too many URLs of one: it shows none of them.

    Servers send such files in place of images that are gone.
    """
    several = (pl.col("class").n_unique().over("sha256") > 1) | (pl.len().over("sha256") > COPIES)
    return pl.col("sha256").is_not_null() & several


def against(build: Build) -> Hashes:
    """The perceptual hashes of the datasets whose images must not occur."""
    hashes = (hash_dataset(Path(path), build.room("clean")) for path in build.options.clean.against)
    return np.concatenate([np.zeros(0, np.uint64), *hashes])


def _left_out(images: pl.DataFrame, reason: str, is_out: "Callable[[Hashes], NDArray[np.bool_]]") -> pl.DataFrame:
    """``images`` with this reason at those that had none, and of which their hashes say so."""
    left = images["reason"].is_null().to_numpy()
    out = np.zeros(len(images), bool)
    out[left] = is_out(images["phash"].to_numpy()[left])
    return images.with_columns(reason=pl.when(pl.Series(out)).then(pl.lit(reason)).otherwise("reason"))


def all_looks(build: Build) -> pl.DataFrame:
    """Looks of all shards with what is known of each image."""
    looks = [pl.read_parquet(build.room("clean") / f"{s}.parquet").with_columns(shard=pl.lit(s)) for s in shards(build)]
    if not looks:
        raise UsageError(f"nothing is downloaded yet: python -m data_prep.imagenot download {build.path}")
    known = download.outcomes(build).filter(pl.col("status") == SUCCESS).drop("status", "error_message")
    return pl.concat(looks).join(known, on=["shard", "key"])


def read_tar(path: Path) -> Iterator[tuple[str, int, bytes]]:
    """Key, place and bytes of each image in a WebDataset shard."""
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg"):
                    file = tar.extractfile(member)
                    assert file is not None
                    yield member.name.removesuffix(".jpg"), member.offset_data, file.read()
    except (tarfile.TarError, OSError) as error:
        raise ToolkitError(
            f"{path} cannot be read ({error}); remove {path.parent}.json and download it again"
        ) from error


def class_names(build: Build, shard: str) -> dict[str, str]:
    """The name of each image's class, by the image's key in the shard's tar."""
    names = {each.wnid: each.name for each in classes.load(build)}
    table = pl.read_parquet(build.room("download") / shard / download.TABLE, columns=["key", "class"])
    return {key: names[wnid] for key, wnid in table.drop_nulls("key").iter_rows()}


def _look(key: str, start: int, content: bytes, section: options.Clean, name: str | None) -> Look:
    """``name``: of the image's class, where an image in which it can be read is to be left out."""
    try:
        image = decode(content)
    except Exception:  # a decoder may raise anything on a damaged file; the reason says so
        return Look(key, start, len(content), "unreadable", 0)
    if min(image.size) < section.min_side:
        return Look(key, start, len(content), "tiny", 0)
    reason = None
    if section.max_flat < 1 and flatness(image) > section.max_flat:
        reason = "flat"
    elif name and is_legible(name, image):
        reason = "legible"
    return Look(key, start, len(content), reason, perceptual_hash(image))


def decode(content: bytes) -> "Image":
    """The image, all of it decoded, in RGB."""
    from toolkit.imagefile.images import opened

    with opened(content) as image:
        return image.convert("RGB")


def perceptual_hash(image: "Image") -> int:
    """64 bits of the low frequencies' signs (imagehash's phash): near images differ in few of them."""
    import imagehash

    return int(str(imagehash.phash(image)), 16)


def flatness(image: "Image") -> float:
    """Share of pixels in the two commonest of 32 grey tones: near 1 for text on plain ground."""
    tones = np.bincount(np.asarray(image.convert("L")).ravel() // 8, minlength=32)
    return float(np.sort(tones)[-2:].sum() / tones.sum())


def hash_dataset(path: Path, room: Path) -> Hashes:
    """Perceptual hashes of all images of a dataset folder, all splits; kept in ``room``.

    Raises `UsageError` when it is no dataset.
    """
    dataset = find_dataset(path.name, path.parent)
    kept = room / f"against-{dataset.manifest.content_hash[:16]}.npy"
    if not kept.exists():
        file = io.BytesIO()
        np.save(file, np.concatenate([_hash_beton(dataset.beton(split)) for split in dataset.manifest.splits]))
        write(kept, file.getvalue())
    hashes: Hashes = np.load(kept)
    return hashes


def _hash_beton(path: Path) -> Hashes:
    from PIL import Image

    from data_prep.writing.progress import progress
    from toolkit.imagefile import images
    from toolkit.imagefile.reader import Beton

    with (
        Beton.open(path, "layout") as beton,
        progress(f"hashing {path.parent.name}/{path.name}", beton.samples) as advance,
    ):
        hashes = np.zeros(beton.samples, np.uint64)
        for number in range(beton.samples):
            hashes[number] = perceptual_hash(Image.fromarray(images.decode(beton.image(number))))
            advance(1)
    return hashes


def duplicates(hashes: Hashes, distance: int) -> NDArray[np.bool_]:
    """Which images are within ``distance`` bits of an earlier one that stays, (n,)."""
    out = np.zeros(len(hashes), bool)
    for first, second in sorted(near_pairs(hashes, hashes, distance), key=lambda pair: (pair[1], pair[0])):
        if first < second and not out[first]:
            out[second] = True
    return out


def near_any(hashes: Hashes, others: Hashes, distance: int) -> NDArray[np.bool_]:
    """Which hashes, (n,), are within ``distance`` bits of any of the others."""
    out = np.zeros(len(hashes), bool)
    out[[second for _, second in near_pairs(others, hashes, distance)]] = True
    return out


def near_pairs(left: Hashes, right: Hashes, distance: int) -> set[tuple[int, int]]:
    """All (i, j) whose hashes differ in at most ``distance`` bits.

    Of ``distance + 1`` stretches of the bits at least one is then the same in both: only those are compared.
    """
    pairs: set[tuple[int, int]] = set()
    edges = np.linspace(0, 64, distance + 2).astype(int)
    for low, high in pairwise(edges):
        mask = np.uint64((1 << int(high - low)) - 1)
        keys = (left >> np.uint64(low)) & mask
        order = np.argsort(keys, kind="stable")
        pairs.update(_pairs_in_buckets(left, right, order, keys[order], (right >> np.uint64(low)) & mask, distance))
    return pairs


def _pairs_in_buckets(
    left: Hashes, right: Hashes, order: NDArray[np.intp], keys: Hashes, wanted: Hashes, distance: int
) -> Iterator[tuple[int, int]]:
    starts, ends = np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right")
    for j in np.flatnonzero(ends > starts):
        bucket = order[starts[j] : ends[j]]
        near = bucket[np.bitwise_count(left[bucket] ^ right[j]) <= distance]
        yield from ((int(i), int(j)) for i in near)
