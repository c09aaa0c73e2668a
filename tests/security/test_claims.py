"""Attacks on what a result says of itself: its dataset, its image, the weights it began with."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.study.strategies import manifest
from tests.training.conftest import TINY
from toolkit.cluster.container import contain
from toolkit.cluster.image_file import check_image, variables
from toolkit.cluster.profile import load_profile
from toolkit.errors import ToolkitError, UsageError
from toolkit.launching.tasks import make_tasks
from toolkit.study import Study
from toolkit.study.dataset import MANIFEST, Dataset, Manifest
from toolkit.train import train


@pytest.fixture
def claimed(data: Path, tmp_path: Path) -> Dataset:
    """A dataset whose manifest has its hash."""
    folder = shutil.copytree(data / "stripes", tmp_path / "data" / "stripes")
    Manifest.read(folder / MANIFEST).sealed().write(folder / MANIFEST)
    return Dataset(folder, Manifest.read(folder / MANIFEST))


def change_metric(dataset: Dataset) -> Dataset:
    """As somebody who knows the hash would."""
    changed = dataset.manifest.model_copy(update={"metric": "top5"}).sealed()
    changed.write(dataset.path / MANIFEST)
    return Dataset(dataset.path, changed)


def test_a_task_does_not_run_on_a_manifest_that_was_changed_since_it_was_declared(
    study: Study, claimed: Dataset
) -> None:
    [task] = make_tasks(["anynetx-500/17"], [claimed], "smoke", ["batch=16"])
    study.declare([task])
    change_metric(claimed)
    assert train(study, [task.id], data=claimed.path.parent, workers=1).failed == [task.id]
    assert "another manifest (classes, metric" in study.result(task.id).failure.message


def test_a_study_is_not_declared_again_on_a_changed_manifest(study: Study, claimed: Dataset) -> None:
    before = make_tasks(["anynetx-500/17"], [claimed], "smoke", ["batch=16"])
    study.declare(before)
    after = make_tasks(["anynetx-500/17"], [change_metric(claimed)], "smoke", ["batch=16"])
    assert [task.id for task in after] == [task.id for task in before]
    with pytest.raises(UsageError, match=r"metric.*are not those that study"):
        study.declare(after)


def test_datasets_from_before_the_hash_are_read_and_their_tasks_run_on(study: Study, claimed: Dataset) -> None:
    old = Dataset(claimed.path, claimed.manifest.model_copy(update={"manifest_hash": ""}))
    [task] = make_tasks(["anynetx-500/17"], [old], "smoke", ["batch=16"])
    study.declare([task])
    task.check_dataset(claimed)
    study.declare(make_tasks(["anynetx-500/17"], [claimed], "smoke", ["batch=16"]))
    assert list(study.tasks()) == [task.id]


def test_the_hash_of_a_manifest_is_what_it_was() -> None:
    """Else every dataset would seem changed after an update."""
    sealed = manifest("a", b"1", b"2").sealed()
    assert sealed.manifest_hash == "a34432cf4b61c719769e39d7b63d8d62fdef78806adfec99ee43d7c182073078"


def test_an_image_that_was_changed_after_the_launch_is_found(tmp_path: Path) -> None:
    image = tmp_path / "x.sif"
    image.write_bytes(b"an image")
    told = variables(image)
    check_image(told)
    os.utime(image, (0, 0))
    check_image(told)  # hashed again
    image.write_bytes(b"another!")
    with pytest.raises(ToolkitError, match=r"x\.sif is not the one that was launched"):
        check_image(told)
    image.unlink()
    with pytest.raises(ToolkitError, match=r"x\.sif cannot be read"):
        check_image(told)


@pytest.mark.cluster
def test_a_task_in_an_image_that_was_replaced_does_not_run(
    study: Study, declare, data: Path, image_profile: Path, tmp_path: Path
) -> None:
    profile = load_profile(str(image_profile))
    image = tmp_path / 'it\'s, "odd".sif'
    shutil.copy(profile.image, image)
    container = contain(str(image), [data, study.path], profile, gpu=False)
    with image.open("ab") as file:
        file.write(b"a layer that the launcher has not seen")
    task = declare(recipe=TINY)
    call = [*container.prefix, "python", "-m", "toolkit.train", str(study.path), task.id, "--data", str(data)]
    environment = {**os.environ, **container.environment}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "is not the one that was launched" in done.stderr, done.stderr
    assert study.result(task.id) is None
