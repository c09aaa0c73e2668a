"""Every source in its real layout, through the writer, read back by FFCV's Loader, pixels compared."""

import importlib
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest

from tests.data_prep.sources.layouts import ALL, Case
from tests.imagefile.judges import read_by_ffcv, seen_by_ffcv
from toolkit.study.dataset import Manifest, find_dataset

pytestmark = pytest.mark.slow  # FFCV reads all that its fixture writes


class Written(NamedTuple):
    case: Case
    manifest: Manifest
    loaded: dict[str, tuple[list[np.ndarray], np.ndarray]]
    """Images and labels by split, as FFCV's Loader yields them."""


def key(module, maker):
    return f"{module}-{maker.__name__}"


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """All datasets, written in this process and read in one other."""
    cases, datasets = {}, {}
    for module, maker in ALL:
        here = tmp_path_factory.mktemp(key(module, maker))
        root = here / "the user's folder"
        root.mkdir()
        case = cases[key(module, maker)] = maker(root)
        arguments = [str(root), "--data", str(here), "--workers", "1", "--max-bad", "0", *case.arguments]
        assert importlib.import_module(f"data_prep.{module}").main(arguments) == 0
        datasets[key(module, maker)] = find_dataset(case.name, here)
    read_by_ffcv([dataset.beton(split) for dataset in datasets.values() for split in ("train", "val")])
    return {
        name: Written(
            case,
            datasets[name].manifest,
            {split: seen_by_ffcv(datasets[name].beton(split)) for split in ("train", "val")},
        )
        for name, case in cases.items()
    }


@pytest.fixture(params=ALL, ids=lambda param: key(*param))
def one(request, written):
    return written[key(*request.param)]


def test_every_picture_comes_back_once_with_its_label(one):
    for split, expected in in_splits(one).items():
        images, labels = one.loaded[split]
        assert len(images) == len(expected)
        left = list(expected)
        for image, label in zip(images, labels, strict=True):
            differences = [difference(image, pixels) for _, pixels in left]
            nearest = int(np.argmin(differences))
            assert differences[nearest] <= one.case.tolerance
            assert left.pop(nearest)[0] == label


def in_splits(one):
    """What is expected of each split; where one was held out, the two together."""
    if "val" in one.case.expected:
        return one.case.expected
    (train, train_labels), (val, val_labels) = one.loaded["train"], one.loaded["val"]
    one.loaded["both"] = train + val, np.append(train_labels, val_labels)
    return {"both": one.case.expected["train"]}


def difference(image, pixels):
    same_shape = image.shape == pixels.shape
    return np.abs(image.astype(int) - pixels).mean() if same_shape else np.inf


def test_the_manifest_says_what_it_is(one):
    assert list(one.manifest.classes) == one.case.classes
    assert one.manifest.metric == one.case.metric
    assert one.manifest.source
    assert not one.manifest.skipped


def test_a_tenth_of_each_class_is_held_out_where_nothing_is_for_validation(one):
    if "val" in one.case.expected:
        assert "held out" not in one.manifest.split_rule
        return
    counts = Counter(label for label, _ in one.case.expected["train"])
    held = Counter(one.loaded["val"][1].tolist())
    assert held == {label: max(1, round(0.1 * count)) for label, count in counts.items()}
    assert one.manifest.split_rule.startswith("10% of each class held out, seed 0")
