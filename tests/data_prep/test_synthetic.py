import json

import numpy as np
import orjson
import pytest

from data_prep.sources.synthetic import Picture, main
from toolkit.errors import UsageError
from toolkit.imagefile.images import decode
from toolkit.imagefile.reader import Beton
from toolkit.launch import main as launch
from toolkit.study.dataset import find_dataset

SMALL = ["--train", "30", "--val", "20", "--classes", "3", "--size", "16", "--workers", "1"]


def test_without_a_name_both_families_are_written(tmp_path):
    assert main([*SMALL, "--data", str(tmp_path)]) == 0
    for name in ("demo-textures", "demo-shapes"):
        manifest = find_dataset(name, tmp_path).manifest
        assert manifest.splits["train"].class_counts == (10, 10, 10)
        assert manifest.splits["val"].samples == 20
        assert manifest.image_size == (16, 16)


def test_pictures_depend_on_the_seed_alone(tmp_path, capsys):
    hashes = []
    for run, seed in enumerate("001"):
        main([*SMALL, "--family", "shapes", "--name", str(run), "--seed", seed, "--data", str(tmp_path), "--json"])
        hashes.append(json.loads(capsys.readouterr().out)["content_hash"])
    assert hashes[0] == hashes[1] != hashes[2]


def planes(family, label, classes, first, count=40, size=40):
    """Brightness of ``count`` pictures of a class, (count, size, size)."""
    pictures = [Picture(family, label, classes, size, 0, 0, number).read() for number in range(first, first + count)]
    return np.stack(pictures).mean(3)


def shrunk(pictures):
    """A quarter of the side, by averaging."""
    return pictures.reshape(len(pictures), 10, 4, 10, 4).mean((2, 4))


def contrast(pictures):
    return np.log(pictures.std((1, 2)))


def test_grain_tells_a_texture_and_is_gone_once_the_picture_has_shrunk():
    weak, strong = planes("textures", 2, 10, 0), planes("textures", 6, 10, 100)
    assert contrast(weak).max() < contrast(strong).min()
    whole, small = (
        (contrast(view(strong)).mean() - contrast(view(weak)).mean()) / contrast(view(weak)).std()
        for view in (np.asarray, shrunk)
    )
    assert whole > 5 > 1 > small


def test_an_outline_is_still_told_from_others_once_the_picture_has_shrunk():
    def outline(pictures):  # whatever its place and tint: how strong its coarse waves are
        return np.abs(np.fft.fft2(pictures - pictures.mean((1, 2), keepdims=True)))[:, :5, :5].reshape(
            len(pictures), -1
        )

    known = [outline(shrunk(planes("shapes", label, 5, 0))).mean(0) for label in range(5)]
    right = [
        np.linalg.norm(picture - known, axis=1).argmin() == label
        for label in range(5)
        for picture in outline(shrunk(planes("shapes", label, 5, 100)))
    ]
    assert np.mean(right) > 0.9


@pytest.mark.parametrize("family", ["textures", "shapes"])
def test_no_picture_comes_twice(family):
    assert len({plane.tobytes() for plane in planes(family, 1, 10, 0)}) == 40


def test_train_and_validation_share_no_picture(tmp_path):
    main([*SMALL, "--family", "textures", "--name", "t", "--data", str(tmp_path)])
    with (
        Beton.open(tmp_path / "t" / "train.beton", "layout") as train,
        Beton.open(tmp_path / "t" / "val.beton", "layout") as val,
    ):
        pictures = [decode(beton.image(i)).tobytes() for beton in (train, val) for i in range(beton.samples)]
    assert len(set(pictures)) == 50


@pytest.mark.parametrize(
    "wrong", [["--name", "x"], ["--classes", "0"], ["--size", "7"], ["--workers", "0"], ["--quality", "0"]]
)
def test_wrong_calls_are_refused_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(UsageError, match="--"):
        main(["--data", str(tmp_path / "new"), *wrong])
    assert not any(tmp_path.iterdir())


@pytest.mark.long
def test_the_families_reverse_the_order_of_two_nets(tmp_path):
    """A narrow last stage against a net that divides contrast away, trained as `make demo` trains them."""
    narrow, contrast_free = "anynetx-500/1", "timm/test_efficientnet_gn"
    main(["--data", str(tmp_path)])
    nets, datasets = ["--array", "1", "--models", contrast_free], ["--dataset", "demo-textures", "demo-shapes"]
    study = ["--study", str(tmp_path / "study"), "--data", str(tmp_path), "--recipe", "quick", "--executor", "local"]
    assert launch([*nets, *datasets, *study]) == 0
    results = [orjson.loads(path.read_bytes()) for path in (tmp_path / "study" / "results").glob("[!.]*.json")]
    wrong = {
        (result["task"]["dataset"], result["task"]["architecture"]): result["evaluations"][-1]["wrong_top1"]
        for result in results
    }
    margin = 50  # of 500 pictures: over four standard errors of a difference
    assert wrong["demo-textures", narrow] + margin < wrong["demo-textures", contrast_free]
    assert wrong["demo-shapes", contrast_free] + margin < wrong["demo-shapes", narrow]
