"""Small made datasets in the layouts in which the real ones are distributed.

Each maker fills a folder and returns a `Case`: the module's arguments, and what must come out.
"""

import csv
import io
import json
import pickle
import struct
import tarfile
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from PIL import Image
from scipy.io import savemat

from tests.data_prep.pictures import file_bytes, photo

SIZE = (40, 32)
EACH = 4  # images of a class


class Case(NamedTuple):
    """What a module is called with, and what must be in the dataset."""

    arguments: list[str]
    expected: dict[str, list[tuple[int, np.ndarray]]]
    """Labels and pixels by split; all in train: 10% of each class must be held out of it."""
    classes: list[str]
    name: str
    metric: str = "top1"
    tolerance: float = 2.5
    """Mean difference of pixels (0..255): two JPEG decoders differ by a little."""


def decoded(content):
    """An image file's pixels, as Pillow sees them."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


class Pictures:
    """Files of distinct pictures, and a record of them."""

    def __init__(self, format="JPEG", size=SIZE):
        self.format, self.size, self.made, self.record = format, size, 0, {}

    def new(self, label, split="train"):
        self.made += 1
        content = file_bytes(photo(self.made, *self.size), self.format)
        self.record.setdefault(split, []).append((label, decoded(content)))
        return content

    def put(self, path, label, split="train"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.new(label, split))


def concrete(root):
    pictures = Pictures()
    for label, folder in enumerate(("Negative", "Positive")):
        for i in range(EACH):
            pictures.put(root / folder / f"{i:05}.jpg", label)
    (root / "Concrete Crack Images for Classification.txt").write_text("about")
    return Case([], pictures.record, ["Negative", "Positive"], "concrete")


def natural(root):
    pictures = Pictures()
    classes = ["buildings", "forest", "glacier", "mountain", "sea", "street"]
    for part, split in (("seg_train", "train"), ("seg_test", "val")):
        for label, folder in enumerate(classes):
            for i in range(2):
                pictures.put(root / part / part / folder / f"{label}{i}.jpg", label, split)
    (root / "seg_pred" / "seg_pred").mkdir(parents=True)
    (root / "seg_pred" / "seg_pred" / "10004.jpg").write_bytes(file_bytes(photo(99)))
    return Case([], pictures.record, classes, "natural")


def insects(root):
    pictures = Pictures()
    species = ["1035167", "1035185", "965"]
    for label, number in enumerate(species):
        for i in range(EACH):
            folder = root / "database" / number
            pictures.put((folder / "more" if label == 1 else folder) / f"{i}.jpg", label)
    return Case([], pictures.record, species, "insects", "top5")


def powerline(root):
    pictures = Pictures("BMP", (128, 128))
    for folder in ("Infrared (IR)", "Visible Light (VL)"):
        for label, word in enumerate(("TV", "TY")):
            for i in range(EACH):
                pictures.put(root / folder / f"{word}_{folder[0]}{i}.bmp", label)
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "._TV_I0.bmp").write_bytes(b"\0\5\x16\7")
    return Case(["--write-mode", "raw"], pictures.record, ["TV", "TY"], "powerline", tolerance=0)


def ham10000(root):
    pictures = Pictures()
    classes = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    rows = []
    for label, diagnosis in enumerate(classes):
        for i in range(2 + label):
            image = f"ISIC_00{label}{i}"
            pictures.put(root / f"HAM10000_images_part_{1 + i % 2}" / f"{image}.jpg", label)
            rows.append(["HAM_0000001", image, diagnosis, "histo", "80.0", "male", "scalp"])
    rows.reverse()
    with (root / "HAM10000_metadata.csv").open("w", newline="") as file:
        header = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
        csv.writer(file).writerows([header, *rows])
    return Case([], pictures.record, classes, "ham10000")


def mlc2008(root):
    """Two photographs whose patches have known places, one of them at a corner."""
    labels = {"CCA": 0, "turf": 1, "Macro": 2, "SAND": 3, "Acrop": 4, "Pavon": 5, "Monti": 6, "Pocill": 7, "Porit": 8}
    folder = root / "MCR_LTER_ComputerVision_LabeledCorals_2008_20120521" / "2008"
    folder.mkdir(parents=True)
    expected = []
    for number in range(2):
        path = folder / f"mcr_lter1_fringingreef_pole1-2_qu{number}_20080415.jpg"
        content = file_bytes(photo(number, 700, 500))
        path.write_bytes(content)
        pixels = decoded(content)
        lines = ["# Row; Col; Label", "20; 30; Off"]
        for i, (name, label) in enumerate(labels.items()):
            row, column = 10 + 55 * i, 690 - 70 * i
            lines.append(f"{row}; {column}; {name}")
            top, left = min(max(row - 156, 0), 500 - 312), min(max(column - 156, 0), 700 - 312)
            expected.append((label, pixels[top : top + 312, left : left + 312]))
        path.with_name(path.name + ".txt").write_text("\n".join(lines) + "\n")
    classes = ["CCA", "Turf", "Macro", "Sand", "Acrop", "Pavon", "Monti", "Pocill", "Porit"]
    return Case(["--write-mode", "raw"], {"train": expected}, classes, "mlc2008", tolerance=0)


class Python2Pickler(pickle._Pickler):
    """Writes bytes as the text strings of Python 2, in which CIFAR is distributed."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_string(self, content):
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(content)

    dispatch[bytes] = save_string


def python2_pickle(thing):
    buffer = io.BytesIO()
    Python2Pickler(buffer, 2).dump(thing)
    return buffer.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def cifar_batch(key, classes, seed):
    data = np.random.default_rng(seed).integers(0, 256, (classes, 3072), dtype=np.uint8)
    labels = list(range(classes))[::-1]
    images = [(label, row.reshape(3, 32, 32).transpose(1, 2, 0)) for label, row in zip(labels, data, strict=True)]
    return python2_pickle({b"batch_label": b"a batch", key: labels, b"data": data}), images


def cifar10(root):
    """The archive as it is fetched."""
    expected = {"train": [], "val": []}
    files = {}
    for n, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        files[name], images = cifar_batch(b"labels", 10, n)
        expected["val" if name == "test_batch" else "train"] += images
    names = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]
    files["batches.meta"] = python2_pickle({b"label_names": names, b"num_vis": 3072})
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as tar:
        for name, content in files.items():
            add(tar, f"cifar-10-batches-py/{name}", content)
    return Case([], expected, [name.decode() for name in names], "cifar10", tolerance=0)


def cifar100(root):
    """The archive unpacked."""
    folder = root / "cifar-100-python"
    folder.mkdir()
    expected = {}
    for n, (name, split) in enumerate((("train", "train"), ("test", "val"))):
        content, expected[split] = cifar_batch(b"fine_labels", 100, 50 + n)
        (folder / name).write_bytes(content)
    names = [f"thing_{i}" for i in range(100)]
    meta = {b"fine_label_names": [name.encode() for name in names], b"coarse_label_names": [b"things"]}
    (folder / "meta").write_bytes(python2_pickle(meta))
    return Case(["--classes", "100"], expected, names, "cifar100", "top5", tolerance=0)


WNIDS = ["n01440764", "n01443537", "n02123045"]


def add(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def imagenet_train(folder, pictures):
    for label, wnid in enumerate(WNIDS):
        for i in range(EACH):
            pictures.put(folder / wnid / f"{wnid}_{i}.JPEG", label)


def imagenet_val(pictures):
    """Names, wnids and contents of the flat validation set; classes in an order of their own."""
    for i, label in enumerate((2, 0, 1, 1, 0, 2), 1):
        yield f"ILSVRC2012_val_{i:08}", WNIDS[label], pictures.new(label, "val")


def development_kit(val):
    """meta.mat and the ground truth: class numbers are in another order than the wnids, as in the real one."""
    numbers = {wnid: 1 + n for n, wnid in enumerate(reversed(WNIDS))}
    rows = [(number, wnid, f"words of {wnid}", "gloss", 0) for wnid, number in numbers.items()]
    kinds = [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")]
    meta = io.BytesIO()
    savemat(meta, {"synsets": np.array(rows, kinds).reshape(-1, 1)})
    truth = "".join(f"{numbers[wnid]}\n" for _, wnid, _ in val)
    return {"meta.mat": meta.getvalue(), "ILSVRC2012_validation_ground_truth.txt": truth.encode()}


def imagenet(root):
    """Both parts in folders by class."""
    pictures = Pictures()
    imagenet_train(root / "train", pictures)
    for name, wnid, content in imagenet_val(pictures):
        (root / "val" / wnid).mkdir(parents=True, exist_ok=True)
        (root / "val" / wnid / f"{name}.JPEG").write_bytes(content)
    return Case([], pictures.record, WNIDS, "imagenet", "top5")


def imagenet_flat(root):
    """A flat validation folder and the development kit's two files."""
    pictures = Pictures()
    imagenet_train(root / "train", pictures)
    val = list(imagenet_val(pictures))
    (root / "val").mkdir()
    for name, _, content in val:
        (root / "val" / f"{name}.JPEG").write_bytes(content)
    for name, content in development_kit(val).items():
        (root / name).write_bytes(content)
    return Case([], pictures.record, WNIDS, "imagenet", "top5")


def imagenet_kaggle(root):
    """As Kaggle's archive unpacks."""
    pictures = Pictures()
    data = root / "ILSVRC" / "Data" / "CLS-LOC"
    imagenet_train(data / "train", pictures)
    val = list(imagenet_val(pictures))
    (data / "val").mkdir()
    for name, _, content in val:
        (data / "val" / f"{name}.JPEG").write_bytes(content)
    rows = [f"{name},{wnid} 85 1 499 272 {wnid} 1 1 2 2\n" for name, wnid, _ in reversed(val)]
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(rows))
    (root / "LOC_synset_mapping.txt").write_text("".join(f"{wnid} words of {wnid}\n" for wnid in WNIDS))
    return Case([], pictures.record, WNIDS, "imagenet", "top5")


def imagenet_tars(root):
    """The files that image-net.org hands out, as they are."""
    pictures = Pictures()
    with tarfile.open(root / "ILSVRC2012_img_train.tar", "w", format=tarfile.USTAR_FORMAT) as outer:
        for label in (1, 0, 2):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for i in range(EACH):
                    add(tar, f"{WNIDS[label]}_{i}.JPEG", pictures.new(label))
            add(outer, f"{WNIDS[label]}.tar", inner.getvalue())
    val = list(imagenet_val(pictures))
    with tarfile.open(root / "ILSVRC2012_img_val.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, _, content in reversed(val):
            add(tar, f"{name}.JPEG", content)
    with tarfile.open(root / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as tar:
        for name, content in development_kit(val).items():
            add(tar, f"ILSVRC2012_devkit_t12/data/{name}", content)
    return Case([], pictures.record, WNIDS, "imagenet", "top5")


def webdataset(root):
    """Shards of a training and a validation split with .cls files."""
    pictures = Pictures()
    for shard, split in (("train/00000", "train"), ("train/00001", "train"), ("val/00000", "val")):
        (root / shard).parent.mkdir(exist_ok=True)
        with tarfile.open(root / f"{shard}.tar", "w") as tar:
            for i in range(6):
                label = i % 3
                key = f"{shard[-5:]}{i:04}"
                add(tar, f"{key}.cls", str((2, 9, 10)[label]).encode())
                add(tar, f"{key}.jpg", pictures.new(label, split))
                add(tar, f"{key}.json", json.dumps({"caption": "a thing", "key": key}).encode())
                add(tar, f"{key}.txt", b"a thing")
    return Case(["--name", "shards", "--metric", "top5"], pictures.record, ["2", "9", "10"], "shards", "top5")


def webdataset_json(root):
    """One folder of img2dataset's shards whose classes are in a column that it kept."""
    pictures = Pictures()
    with tarfile.open(root / "00000.tar", "w") as tar:
        for i in range(2 * EACH):
            add(tar, f"{i:09}.jpg", pictures.new(i % 2))
            add(tar, f"{i:09}.json", json.dumps({"wnid": WNIDS[i % 2], "status": "success"}).encode())
    (root / "00000_stats.json").write_text("{}")
    return Case(["--name", "laion", "--field", "wnid"], pictures.record, WNIDS[:2], "laion")


def parquet(root):
    """As the hub has it: a struct, and a description of the columns; two classes share a name, as ImageNet's cranes."""
    pictures = Pictures("PNG")
    names = ["crane", "crane", "tench"]
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    described = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    (root / "data").mkdir()
    for shard, split in (("train-00000-of-00002", "train"), ("train-00001-of-00002", "train"), ("validation-0", "val")):
        images = [{"bytes": pictures.new(i % 3, split), "path": f"{i}.png"} for i in range(7)]
        table = pa.table({"image": images, "label": [i % 3 for i in range(7)]}).replace_schema_metadata(described)
        pa.parquet.write_table(table, root / "data" / f"{shard}.parquet", row_group_size=3)
    arguments = ["--name", "hub", "--write-mode", "raw"]
    return Case(arguments, pictures.record, ["0", "1", "2"], "hub", tolerance=0)


def parquet_plain(root):
    """Columns of bytes and of names, under names of their own."""
    pictures = Pictures()
    classes = ["cat", "dog"]
    images = [pictures.new(i % 2) for i in range(2 * EACH)]
    table = pa.table({"picture": images, "kind": [classes[i % 2] for i in range(2 * EACH)]})
    pa.parquet.write_table(table, root / "all.parquet")
    return Case(["--name", "plain", "--image", "picture", "--label", "kind"], pictures.record, classes, "plain")


def imagefolder(root):
    pictures = Pictures()
    for split in ("train", "val"):
        for label, name in enumerate(("cat", "dog")):
            for i in range(EACH):
                pictures.put(root / split / name / f"{i}.jpg", label, split)
    return Case(["--name", "pets"], pictures.record, ["cat", "dog"], "pets")


MAKERS = {
    "cifar": [cifar10, cifar100],
    "concrete": [concrete],
    "ham10000": [ham10000],
    "imagenet": [imagenet, imagenet_flat, imagenet_kaggle, imagenet_tars],
    "insects": [insects],
    "mlc2008": [mlc2008],
    "natural": [natural],
    "parquet": [parquet, parquet_plain],
    "powerline": [powerline],
    "webdataset": [webdataset, webdataset_json],
}
ALL = [*((module, maker) for module, makers in MAKERS.items() for maker in makers), ("imagefolder", imagefolder)]
