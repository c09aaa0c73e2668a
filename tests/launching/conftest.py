"""Two small datasets on disk: a launch looks them up, and trains nothing here."""

from pathlib import Path

import pytest

from tests.training.betons import write_dataset


@pytest.fixture(scope="package")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name in ("one", "two"):
        write_dataset(folder / name, train=16, val=4, classes=2)
    return folder
