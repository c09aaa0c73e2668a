import json

import pytest

from tests.training.betons import pictures, write_beton, write_dataset
from tests.training.conftest import TINY, changed, errors
from toolkit.errors import ToolkitError, UsageError
from toolkit.imagefile.reader import Beton
from toolkit.study import Task
from toolkit.train import main, train
from toolkit.training.provenance import read_revision
from toolkit.training.request import TrainRequest, open_session
from toolkit.training.stop import StopFlag

NET = "anynetx-500/17"


def test_a_task_from_declaration_to_result(study, declare, data, capsys):
    task = declare()
    assert main([str(study.path), task.id, "--data", str(data), "--workers", "1"]) == 0
    result = study.result(task.id)
    assert result.status == "done" and [e.epoch for e in result.evaluations] == [1, 2]
    assert all(e.images == 40 for e in result.evaluations)
    last = result.evaluations[-1]
    assert len(last.wrong_by_class) == 4 and sum(last.wrong_by_class) == last.wrong_top1
    assert last.wrong_top5 == 0
    assert result.params > 10_000 and result.flops > 0 and result.resolution == 16
    assert result.provenance.arithmetic == "float32"  # whatever the recipe's precision: this is a processor
    assert result.provenance.dataset_hash == "hash-of-stripes" and "torch" in result.provenance.versions
    assert result.timing.total_s > result.timing.compute_s > 0 and result.timing.images_per_s > 0
    progress = json.loads(study.progress_path(task.id).read_text())
    assert progress["phase"] == "evaluating" and progress["steps"] == 10
    assert [p.name for p in study.checkpoint_folder(task.id).iterdir()] == ["final.pt"]
    assert "done, error" in capsys.readouterr().err


def test_the_mean_error_by_class_weighs_classes_alike(study, tmp_path):
    counts = write_dataset(tmp_path / "uneven", val=5).splits["val"].class_counts
    assert counts == (2, 1, 1, 1)
    task = Task(architecture=NET, dataset="uneven", dataset_hash="hash-of-uneven", recipe=TINY)
    study.declare([task])
    train(study, [task.id], data=tmp_path, workers=1)
    last = study.result(task.id).evaluations[-1]
    shares = [wrong / count for wrong, count in zip(last.wrong_by_class, counts, strict=True)]
    assert last.mean_class_error == pytest.approx(sum(shares) / 4)


def test_what_has_a_result_is_not_run_again(study, declare, data):
    task = declare()
    train(study, [task.id], data=data, workers=1)
    before = study.result_path(task.id).read_bytes()
    assert train(study, [task.id], data=data, workers=1).done == [task.id]
    assert study.result_path(task.id).read_bytes() == before


class After(StopFlag):
    """A flag that goes up at the n-th look."""

    def __init__(self, looks):
        super().__init__()
        self.looks = looks

    def __bool__(self):
        self.looks -= 1
        if self.looks < 0:
            self.set("test")
        return super().__bool__()


@pytest.mark.parametrize("looks", [3, 11, 17])
def test_interrupted_anywhere_the_result_is_the_same(study, declare, data, tmp_path, looks):
    task = declare()
    assert train(study, [task.id], data=data, workers=1, stop=After(looks)).preempted == [task.id]
    assert study.progress(task.id).phase == "preempted" and not study.result_path(task.id).exists()
    assert train(study, [task.id], data=data, workers=1).done == [task.id]
    resumed = study.result(task.id)
    assert resumed.provenance.restarts == 1
    study.result_path(task.id).unlink()
    train(study, [task.id], data=data, workers=1)
    assert errors(study.result(task.id)) == errors(resumed)


def test_of_two_runs_of_a_task_the_first_result_stays(study, declare, data, capsys):
    """A node that Slurm gave up may live on, and its task come to an end beside the one that was started elsewhere."""
    task = declare()
    train(study, [task.id], data=data, workers=1)
    first = study.result_path(task.id).read_bytes()
    study.result_path(task.id).unlink()

    class Elsewhere(StopFlag):
        def __bool__(self):
            study.result_path(task.id).write_bytes(first)
            return False

    assert train(study, [task.id], data=data, workers=1, stop=Elsewhere()).done == [task.id]
    assert study.result_path(task.id).read_bytes() == first
    assert capsys.readouterr().err.endswith("has its result already: another run of it came first\n")


def test_named_models_train_at_the_size_they_want(study, declare, data):
    task = declare("torchvision/mobilenet_v3_small", recipe=changed(TINY, epochs=1))
    train(study, [task.id], data=data, workers=1)
    result = study.result(task.id)
    assert result.status in ("done", "diverged") and result.params > 1_000_000 and result.resolution >= 16


def test_a_failure_is_recorded_and_the_next_task_runs(study, declare, data):
    missing = declare("torchvision/resnet9000")
    good = declare()
    outcome = train(study, [missing.id, good.id], data=data, workers=1)
    assert (outcome.failed, outcome.done) == ([missing.id], [good.id])
    failure = study.result(missing.id).failure
    assert "resnet9000" in failure.message and failure.kind == "UsageError" and "Traceback" in failure.trace


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"dataset_hash": "other"}, "other images or labels than task"),
        ({"dataset": "stripe"}, "did you mean stripes"),
    ],
)
def test_a_dataset_that_is_not_the_declared_one(study, data, fields, words):
    fields = {"dataset": "stripes", "dataset_hash": "hash-of-stripes"} | fields
    task = Task(architecture="anynetx-500/3", recipe=TINY, **fields)
    study.declare([task])
    assert train(study, [task.id], data=data, workers=1).failed == [task.id]
    assert words in study.result(task.id).failure.message


def test_no_number_is_a_divergence(study, declare, data):
    task = declare(recipe=changed(TINY, lr=1e30))
    assert train(study, [task.id], data=data, workers=1).diverged == [task.id]
    assert study.result(task.id).failure.kind == "NonFiniteLoss"


def test_a_batch_larger_than_the_set(study, declare, data):
    task = declare(recipe=changed(TINY, batch=1000))
    assert train(study, [task.id], data=data, workers=1).failed == [task.id]
    assert "larger than" in study.result(task.id).failure.message


def test_wrong_calls(study, data):
    for arguments, words in ((["nope"], "is no task"), (["nope", "--workers", "-1"], "--workers")):
        with pytest.raises(UsageError, match=words):
            main([str(study.path), *arguments, "--data", str(data)])


def test_crops_that_grow_over_the_epochs(study, declare, data):
    task = declare(recipe=changed(TINY, progressive=(8, 24), resolution=24))
    train(study, [task.id], data=data, workers=1)
    result = study.result(task.id)
    assert len(result.evaluations) == 2 and result.resolution == 24


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_corrupt_sample_fails_the_task_or_is_left_out_of_training_alone(study, tmp_path, split):
    manifest = write_dataset(tmp_path / "torn")
    beton = tmp_path / "torn" / f"{split}.beton"
    tables, content = Beton.open(beton), bytearray(beton.read_bytes())
    start, size = int(tables.offsets[7]), int(tables.sizes[7])
    content[start : start + size] = bytes(size)
    beton.write_bytes(content)
    task = Task(architecture=NET, dataset="torn", dataset_hash=manifest.content_hash, recipe=TINY)
    study.declare([task])
    assert train(study, [task.id], data=tmp_path, workers=1).failed == [task.id]
    failure = study.result(task.id).failure
    assert failure.kind == "CorruptSample" and failure.message.startswith("sample 7 of")
    study.result_path(task.id).unlink()
    train(study, [task.id], data=tmp_path, workers=1, on_corrupt="skip")
    result = study.result(task.id)
    if split == "val":  # an error over 39 of 40 images is no result
        assert result.status == "failed" and result.failure.kind == "CorruptSample"
    else:
        assert [e.images for e in result.evaluations] == [40, 40]
        study.result_path(task.id).unlink()
        manifest.model_copy(update={"max_bad": 0}).write(tmp_path / "torn" / "dataset.json")
        assert train(study, [task.id], data=tmp_path, workers=1, on_corrupt="skip").failed == [task.id]
        assert "1 of 160 samples" in study.result(task.id).failure.message


def test_labels_outside_of_the_head_are_named_before_training(study, tmp_path):
    manifest = write_dataset(tmp_path / "wide")
    write_beton(tmp_path / "wide" / "val.beton", *pictures(40, 6))
    size = (tmp_path / "wide" / "val.beton").stat().st_size
    splits = {**manifest.splits, "val": manifest.splits["val"].model_copy(update={"bytes": size})}
    manifest.model_copy(update={"splits": splits}).write(tmp_path / "wide" / "dataset.json")
    task = Task(architecture=NET, dataset="wide", dataset_hash=manifest.content_hash, recipe=TINY)
    study.declare([task])
    assert train(study, [task.id], data=tmp_path, workers=1).failed == [task.id]
    assert "labels 0 to 5, its manifest 4 classes" in study.result(task.id).failure.message


def test_results_that_cannot_be_written_end_the_run_in_one_line(study, declare, data):
    task = declare()
    study.room("results").rmdir()
    study.room("results").write_text("a file where the folder should be")
    with pytest.raises(ToolkitError, match="results"):
        train(study, [task.id], data=data, workers=1)


COMMIT = "ab" * 20


def test_the_revision_is_found_without_a_git_program(tmp_path):
    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "packed-refs").write_text(f"# pack-refs\n{COMMIT} refs/heads/main\n")
    assert read_revision(tmp_path) == COMMIT
    (git / "refs" / "heads" / "main").write_text("cd" * 20 + "\n")
    assert read_revision(tmp_path) == "cd" * 20
    (git / "HEAD").write_text("0f" * 20 + "\n")
    assert read_revision(tmp_path) == "0f" * 20 and read_revision(tmp_path / "elsewhere") is None


def test_packs_sized_by_measurement(study, declare, data, capsys):
    tasks = [declare(NET), declare("anynetx-500/3")]
    main([str(study.path), *(t.id for t in tasks), "--data", str(data), "--pack", "auto", "--workers", "1"])
    assert all(len(study.result(task.id).evaluations) == 2 for task in tasks)
    assert "as measured on this net" in capsys.readouterr().err


def test_a_gpu_that_was_asked_for_and_is_not_there_is_told(study, data, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    request = TrainRequest(study, data, gpu=True)
    with pytest.raises(ToolkitError, match="no GPU is visible on node"), open_session(request, StopFlag()):
        raise AssertionError("it must not begin to train on the CPU")
