import json

import numpy as np
import pytest

from data_prep.beton import Beton
from data_prep.images import decode
from data_prep.synthetic import Picture, main
from toolkit.errors import UsageError
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


@pytest.mark.parametrize("family", ["textures", "shapes"])
def test_pictures_of_a_class_are_alike_and_none_twice(family):
    def mean_picture(label, first):
        pictures = [Picture(family, label, 24, 0, 0, first + i).read().astype(float) for i in range(60)]
        planes = [np.abs(np.fft.fft2(p.mean(2) - p.mean())) if family == "textures" else p.mean(2) for p in pictures]
        assert len({p.tobytes() for p in pictures}) == 60
        return np.mean(planes, 0)

    same = np.corrcoef(mean_picture(1, 0).ravel(), mean_picture(1, 100).ravel())[0, 1]
    other = np.corrcoef(mean_picture(1, 0).ravel(), mean_picture(2, 0).ravel())[0, 1]
    assert same > 0.9 > other


def test_train_and_validation_share_no_picture(tmp_path):
    main([*SMALL, "--family", "textures", "--name", "t", "--data", str(tmp_path)])
    with Beton(tmp_path / "t" / "train.beton") as train, Beton(tmp_path / "t" / "val.beton") as val:
        pictures = [decode(beton.image(i)).tobytes() for beton in (train, val) for i in range(beton.samples)]
    assert len(set(pictures)) == 50


@pytest.mark.parametrize(
    "wrong", [["--name", "x"], ["--classes", "0"], ["--size", "7"], ["--workers", "0"], ["--quality", "0"]]
)
def test_wrong_calls_are_refused_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(UsageError, match="--"):
        main(["--data", str(tmp_path / "new"), *wrong])
    assert not any(tmp_path.iterdir())
