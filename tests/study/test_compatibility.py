"""What an earlier version wrote and printed is read, checked and named as it was: fixtures in tests/fixtures."""

import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch

from toolkit.study import Study, find_dataset
from toolkit.study.dataset import Manifest

FIXTURES = Path(__file__).parent.parent / "fixtures" / "v0_1"
OPTIONS = json.loads((FIXTURES / "options.json").read_text())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("v0_1")
    with tarfile.open(FIXTURES / "written.tar.xz") as archive:
        archive.extractall(folder)
    return folder


def printed(written, *command):
    found = subprocess.run([sys.executable, "-m", *command], cwd=written, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


@pytest.mark.slow
def test_datasets_open_and_verify(written):
    for name in ("tiny-jpg", "tiny-raw", "tiny-jpg-2"):
        assert find_dataset(name, written / "data").manifest.splits["val"].samples in (9, 6)
        report = subprocess.run(
            [sys.executable, "-m", "data_prep.verify", str(written / "data" / name)], capture_output=True, text=True
        )
        assert report.returncode == 0, report.stderr


@pytest.mark.slow
def test_the_same_images_are_written_as_they_were(written, tmp_path):
    for name, mode in (("tiny-jpg", "jpg"), ("tiny-raw", "raw")):
        command = ["data_prep.imagefolder", "images", "--name", name, "--write-mode", mode, "--data", str(tmp_path)]
        manifest = Manifest.model_validate(printed(written, *command, "--json"))
        old = find_dataset(name, written / "data")
        assert manifest.content_hash == old.manifest.content_hash
        for file in ("train.beton", "val.beton", "train.digests", "val.digests"):
            assert (tmp_path / name / file).read_bytes() == (old.path / file).read_bytes()


def test_a_subset_is_drawn_as_it_was(written, tmp_path):
    (tmp_path / "tiny-jpg").symlink_to(written / "data" / "tiny-jpg")
    command = ["data_prep.subset", "tiny-jpg", "--classes", "2", "--seed", "1", "--data", str(tmp_path), "--json"]
    now, then = printed(written, *command), json.loads((written / "subset.json").read_text())
    assert now["content_hash"] == then["content_hash"]
    assert now["classes"] == then["classes"]


def test_task_ids_are_what_they_were(written):
    study = Study.open(written / "runs" / "tiny")
    assert len(study.tasks()) == 8
    assert all(task.id == task_id for task_id, task in study.tasks().items())
    assert study.finished() == set(study.tasks())


def test_results_are_read_and_final_weights_fit(written):
    study = Study.open(written / "runs" / "tiny")
    results = {task_id: study.result(task_id) for task_id in study.tasks()}
    assert {result.status for result in results.values()} == {"done"}
    [weights] = (written / "runs" / "tiny" / "checkpoints").glob("*/final.pt")
    assert torch.load(weights, weights_only=True)["architecture"] == results[weights.parent.name].task.architecture


@pytest.mark.slow
def test_status_and_report_print_the_same_keys_and_errors(written):
    """Documents may gain keys; what was there keeps its name and, where it is data of the runs, its value."""
    status = printed(written, "toolkit.status", "runs/tiny", "--json")
    then = json.loads((written / "status.json").read_text())
    assert {key: status[key] for key in ("tasks", "states", "ranges", "trouble")} == {
        key: then[key] for key in ("tasks", "states", "ranges", "trouble")
    }
    report = printed(written, "toolkit.report", "runs/tiny", "--json")
    before = json.loads((written / "report.json").read_text())
    assert before.keys() <= report.keys()


OF_TORCHRUN = {"--standalone", "--nproc-per-node"}
"""Options of another program that the help of 0.1 spoke of; ``toolkit.train --ranks`` took its place."""


@pytest.mark.parametrize("verb", OPTIONS)
def test_every_verb_still_takes_its_options(verb):
    shown = subprocess.run([sys.executable, "-m", verb, "--help"], capture_output=True, text=True, check=True)
    assert set(OPTIONS[verb]) - OF_TORCHRUN <= set(re.findall(r"--[a-z][a-z0-9-]+", shown.stdout))
