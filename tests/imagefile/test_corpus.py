"""Every kind of JPEG from the writer through verification to the training loader's decoder."""

import numpy as np
import pytest

from data_prep.sources.imagefolder import main
from data_prep.verification import verify
from tests.imagefile.corpus import SUITES, write_corpus
from toolkit.imagefile.crops import Decoder
from toolkit.imagefile.reader import Beton
from toolkit.study.dataset import find_dataset

OF_EACH = 80


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder / "jpegs", OF_EACH)
    assert main([str(folder / "jpegs"), "--data", str(folder / "data"), "--workers", "1"]) == 0
    return find_dataset("jpegs", folder / "data")


def test_none_is_lost_and_the_set_verifies(dataset):
    assert dataset.manifest.classes == SUITES
    assert dataset.manifest.splits["train"].class_counts == (OF_EACH,) * len(SUITES)
    assert verify(dataset.beton("train").parent, workers=1) == []


@pytest.mark.parametrize("shrink", [1, 2, 4, 8])
def test_a_crop_of_any_height_has_the_pixels_of_the_whole(dataset, shrink):
    with Beton.open(dataset.beton("train"), "layout") as beton:
        for image in (beton.image(i) for i in range(beton.samples)):
            data = np.frombuffer(image.data, np.uint8)
            whole = Decoder().jpeg(data, image.height, image.width, shrink=shrink)
            for bottom in (20, 41, 70):
                rows = bottom // shrink
                part = Decoder().jpeg(data, image.height, image.width, bottom, shrink)
                assert np.array_equal(part[:rows], whole[:rows])
