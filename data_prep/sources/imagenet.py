"""ImageNet: the 1000 classes of ILSVRC 2012 (Russakovsky et al. 2015).

Where from:  image-net.org (register; files of ILSVRC2012) or Kaggle, imagenet-object-localization-challenge
Licence:     for non-commercial research and education only, under the terms one agrees to there
Expects, for training, the first of
             ROOT/train/WNID/*.JPEG                   (also ROOT/ILSVRC/Data/CLS-LOC/train, as Kaggle's archive unpacks)
             ROOT/ILSVRC2012_img_train.tar            the tar of 1000 tars as distributed, read without unpacking
         and for validation the first of
             ROOT/val/WNID/*.JPEG                     sorted into folders
             ROOT/val/ILSVRC2012_val_*.JPEG           flat (also ROOT/ILSVRC/Data/CLS-LOC/val)
             ROOT/ILSVRC2012_img_val.tar              as distributed, read without unpacking
         where the last two need one of
             ROOT/LOC_val_solution.csv                Kaggle's answers
             ROOT/ILSVRC2012_devkit_t12.tar.gz        the development kit, or its folder unpacked, or its two files
             meta.mat and ILSVRC2012_validation_ground_truth.txt in ROOT

Labels follow the sorted WordNet ids, as everywhere. Images shrink to 256 pixels on their shortest side (the study's
size; that it is the shortest side is our choice). The error that counts is top-5. A part of ImageNet (fewer classes)
in one of these layouts will do.
"""

import re
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from data_prep.sources import source as sources
from data_prep.sources.source import Found, Source
from data_prep.storage.image_tree import class_tree
from data_prep.storage.matlab import read_struct
from data_prep.storage.samples import Files
from data_prep.storage.tar_entries import Spans, content_of, members, reading
from toolkit.errors import ToolkitError, UsageError
from toolkit.files import read_regular
from toolkit.texts import read_text

LARGEST_META = 1 << 24
"""Bytes that meta.mat may unpack to (our choice: ImageNet's has half a million)."""
WNID = re.compile(r"n\d{8}")
NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})")
KAGGLE = "ILSVRC/Data/CLS-LOC"
TRAIN_TAR, VAL_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
KIT = "ILSVRC2012_devkit_t12"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
SOURCE = Source(
    name="imagenet",
    title="ImageNet (ILSVRC 2012)",
    origin="Russakovsky et al. 2015, ILSVRC 2012, image-net.org; for non-commercial research and education only",
    metric="top5",
    shortest_side=256,
)


def main(argv: Sequence[str]) -> int:
    """Write the dataset."""
    args = sources.options("imagenet", __doc__, SOURCE).parse_args(argv)
    return sources.run(args, SOURCE, lambda: find(args.root))


def find(root: Path) -> Found:
    """Training and validation images, in whichever layout they lie."""
    classes, train = _train(root)
    val = _val(root, {wnid: label for label, wnid in enumerate(classes)})
    words = _words(root)
    names = [words[wnid] for wnid in classes] if set(classes) <= words.keys() else ()
    return Found({"train": train, "val": val}, classes, names, split_rule="the validation set of ILSVRC 2012 is val")


def _train(root: Path) -> tuple[list[str], Files | Spans]:
    folder = sources.first_of(root, "train", f"{KAGGLE}/train")
    if folder and (classes := _wnids(folder)):
        return classes, class_tree(folder, classes)
    if (root / TRAIN_TAR).is_file():
        return train_tar(root / TRAIN_TAR)
    raise sources.wrong_layout(folder or root, f"folders named by WordNet ids, as n01440764/, or {TRAIN_TAR}")


def _wnids(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if WNID.fullmatch(path.name) and path.is_dir())


def train_tar(path: Path) -> tuple[list[str], Spans]:
    """A tar for each class inside the tar; the images' places are absolute in the outer one."""
    images = Spans()
    with reading(path):
        inner = {Path(tar.name).stem: tar for tar in members(path)}
        classes = sorted(filter(WNID.fullmatch, inner))
        for label, wnid in enumerate(classes):
            before = len(images)
            for image in members(path, inner[wnid].start):
                if image.start + image.size > inner[wnid].start + inner[wnid].size:
                    raise ToolkitError(f"{path}: {inner[wnid].name} in it is truncated; fetch it again")
                images.add(path, image, label)
            if len(images) == before:
                raise ToolkitError(f"{path}: {inner[wnid].name} in it has no images; fetch it again")
    if not classes:
        raise UsageError(f"{path}: looked for tars named by WordNet ids inside it; found {', '.join(list(inner)[:6])}")
    return classes, images


def _val(root: Path, labels: Mapping[str, int]) -> Files | Spans:
    folder = sources.first_of(root, "val", f"{KAGGLE}/val")
    if folder and (classes := _wnids(folder)):
        if set(classes) != set(labels):
            strange = min(set(classes) ^ set(labels))
            raise UsageError(f"{root}: class {strange} has a folder in only one of train and val")
        return class_tree(folder, classes)
    if folder:
        names, passed_over = sources.images_below(folder)
        return Files(folder, names, list(map(_answers(root, labels), names)), passed_over)
    if not (root / VAL_TAR).is_file():
        raise sources.wrong_layout(root, f"val/ or {VAL_TAR}")
    answer, images = _answers(root, labels), Spans()
    for image in members(root / VAL_TAR):
        images.add(root / VAL_TAR, image, answer(image.name))
    return images


def _answers(root: Path, labels: Mapping[str, int]) -> Callable[[str], int]:
    """The function from the name of a validation image to its label."""
    wnids = _solution(root / "LOC_val_solution.csv") or _ground_truth(root)

    def answer(name: str) -> int:
        number = NUMBER.search(name)
        wnid = wnids.get(int(number[1])) if number else None
        if wnid is None:
            raise UsageError(f"{root}: no class is known of the validation image {name}")
        if wnid not in labels:
            raise UsageError(f"{root}: validation image {name} has class {wnid}, which has no training images")
        return labels[wnid]

    return answer


def _solution(path: Path) -> dict[int, str]:
    """WordNet id by number of the image, from Kaggle's table; empty when it is not there."""
    if not path.is_file():
        return {}
    rows = sources.rows_of(path, ("ImageId", "PredictionString"))
    answers = [(NUMBER.fullmatch(row["ImageId"]), row["PredictionString"].split()) for row in rows]
    return {int(number[1]): answer[0] for number, answer in answers if number and answer}


def _ground_truth(root: Path) -> dict[int, str]:
    """The same from the development kit: line i is the number of image i's class, which meta.mat translates."""
    truth = _kit(root, TRUTH)
    if truth is None:
        raise sources.wrong_layout(root, f"LOC_val_solution.csv, {KIT}.tar.gz or {TRUTH}, for a flat val")
    wnids = {number: wnid for number, wnid, _ in _synsets(root)}
    if not wnids:
        raise sources.wrong_layout(root, f"meta.mat beside {TRUTH}")
    known = {str(number): wnid for number, wnid in wnids.items()}
    lines = truth.decode(errors="replace").split()
    if strange := [(image, line) for image, line in enumerate(lines, 1) if line not in known]:
        image, line = strange[0]
        raise UsageError(f"{root}: {TRUTH}, line {image}: looked for a class of meta.mat; found {line[:40]!r}")
    return {image: known[line] for image, line in enumerate(lines, 1)}


def _synsets(root: Path) -> list[tuple[int, str, str]]:
    """Number, WordNet id and words of each synset of meta.mat; empty when it is not there."""
    meta = _kit(root, "meta.mat")
    if meta is None:
        return []
    try:
        rows = read_struct(meta, "synsets", LARGEST_META)
        return [(int(float(str(row["ILSVRC2012_ID"]))), str(row["WNID"]), str(row["words"])) for row in rows]
    except (ValueError, LookupError, struct.error, zlib.error, OverflowError) as error:
        raise ToolkitError(f"{root}: meta.mat has no table of synsets ({error}); fetch it again") from error


def _kit(root: Path, name: str) -> bytes | None:
    """A file of the development kit, unpacked or not."""
    unpacked = sources.first_of(root, name, f"{KIT}/data/{name}", f"data/{name}")
    if unpacked:
        return read_regular(unpacked)
    archive = root / f"{KIT}.tar.gz"
    if not archive.is_file():
        return None
    return content_of(archive, f"{KIT}/data/{name}")


def _words(root: Path) -> dict[str, str]:
    """Words by WordNet id, from whichever of the distributed tables is there."""
    mapping = root / "LOC_synset_mapping.txt"
    if mapping.is_file():
        return dict(line.split(" ", 1) for line in read_text(mapping).splitlines() if " " in line)
    return {wnid: words for _, wnid, words in _synsets(root)}
