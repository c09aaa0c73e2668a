"""Headings that people give their tables, as they stand in public repositories: a result, or what stands beside it."""

import re
from pathlib import Path

import polars as pl
import pytest

from toolkit.analysis.measurements import Measurements
from toolkit.analysis.sources import load
from toolkit.analysis.table_source import Reading
from toolkit.errors import UsageError

DATASETS = ("imagenet", "cifar10", "pets")
# Found in public files: huggingface/pytorch-image-models (results/benchmark-*), mlfoundations/open_clip
# (docs/model_profile.csv, docs/openclip_results.csv), keras.io/api/applications,
# MaybeShewill-CV/image-classification-tensorflow (README), and the `results.csv`, `metrics.csv` and `summary.csv` that
# scripts of many repositories write. The last line is our own.
BESIDE = (
    "train_samples_per_sec", "train_step_time", "train_batch_size", "train_img_size", "param_count",
    "infer_samples_per_sec", "infer_step_time", "infer_gmacs", "infer_macts", "crop_pct",
    "image_size", "image_width", "text_width", "embed_dim", "mparams", "image_mparams", "text_mparams", "gflops",
    "image_gflops", "params (M)", "FLOPs (B)", "Average perf. on 38 datasets",
    "Model Size(M)", "GTX-3080 time(ms) bs=1", "Params(M)", "Size (MB)", "Parameters",
    "Time (ms) per inference step (CPU)", "Params (M)", "FLOPs (G)",
    "Peak Memory (MB)", "Latency (ms)", "FPS", "Timespan_s", "Infer_Latency_ms", "Train_Latency_ms", "Memory_KB",
    "Devices", "training_time_s", "peak_gpu_mb", "model_size_mb", "train_time_sec", "eval_time_s", "duration_sec",
    "epoch", "best_epoch", "train_epochs", "learning_rate", "weight_decay", "class_weight", "time per epoch",
    "mc_samples", "train_test_gap", "top1_diff", "rank_diff", "run_id",
    "train_acc", "Train_Acc", "Train Accuracy (%)", "Training Accuracy", "train_accuracy",
    "Train F1", "train_loss", "mse_train", "train_auc", "Train ece", "test_ece", "test_rmse", "Cross Entropy",
    "val_loss", "Test Loss", "eval_loss", "best_val_loss",
    "top1_train", "train acc", "imagenet_ema_acc", "imagenet_top5", "pets_loss",
)  # fmt: skip
HEADERS = {
    "model,seed,train_loss,train_acc,eval_loss,eval_acc": "eval_acc",
    "Model,Seed,Train Accuracy,Train F1,Test Accuracy,Test F1": "Test Accuracy",
    "Timestamp,Timespan_s,Epoch,Train_Acc,Test_Acc,Infer_Latency_ms,Train_Latency_ms,Memory_KB,Devices,model": (
        "Test_Acc"
    ),
    "experiment_id,model,weight_decay,class_weight,seed,best_epoch,train_acc,val_acc,test_acc,precision,recall,f1,"
    "worst_class_recall,train_test_gap": "test_acc",
    "model,epoch,train_loss,train_acc,val_loss,val_acc,test_loss,test_acc,learning_rate": "test_acc",
    "model,epoch,train_loss,eval_loss,eval_top1,eval_top5,lr": "eval_top1",
    "model,epoch,time,train_loss,train_acc,train_pre,train_rec,train_auc,train_mae,test_loss,test_acc": "test_acc",
}  # fmt: skip
"""The first line of a table (with a model where it had none), and the heading of its result."""


def table(path: Path, headings: list[str]) -> Path:
    """Six networks with a number in each column; none is the same as in another."""
    names = ["model", "Model"]
    columns = {
        heading: [f"net{i}" for i in range(6)] if heading in names else [50 + k + (i * (k + 3)) % 11 for i in range(6)]
        for k, heading in enumerate(headings)
    }
    pl.DataFrame(columns).write_csv(path)
    return path


def read(path: Path, **more: object) -> Measurements:
    return load([str(path)], Reading("accuracy", "percent", **more))[0]


def test_what_stands_beside_results_is_no_dataset_and_is_told(tmp_path: Path) -> None:
    data = read(table(tmp_path / "t.csv", ["model", *DATASETS, *BESIDE]))
    assert data.datasets == list(DATASETS)
    told = set(data.attributes.columns).union(*(re.findall(r"'([^']*)'", line) for line in data.problems))
    assert set(BESIDE) <= told


@pytest.mark.parametrize("header", HEADERS)
def test_a_table_of_one_dataset_has_its_test_accuracy(header: str, tmp_path: Path) -> None:
    headings = header.split(",")
    data = read(table(tmp_path / "mine.csv", headings))
    k = headings.index(HEADERS[header])
    assert data.datasets == ["mine"]
    assert data.matrix[:, 0].tolist() == [50 + k + (i * (k + 3)) % 11 for i in range(6)]


@pytest.mark.parametrize("heading", ["train_acc", "best_epoch"])
def test_a_heading_is_a_dataset_where_the_user_says_so(heading: str, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["model", *DATASETS, heading])
    told = (*((name, "value") for name in DATASETS), (heading, "accuracy"))
    assert read(path, columns=told).datasets == [*DATASETS, heading]


def test_datasets_whose_names_sound_like_a_measure_stay(tmp_path: Path) -> None:
    names = ["imagenet val", "ImageNet-A", "corruption_1.severity_1", "corruption_5.severity_5", "NYU depth", "MS COCO"]
    assert read(table(tmp_path / "t.csv", ["model", *names])).datasets == names
    of_accuracies = ["imagenet_top1", "pets_top1", "pets_val_acc", "pets_test_acc"]
    assert read(table(tmp_path / "u.csv", ["model", *of_accuracies])).datasets == of_accuracies


def test_losses_are_refused_as_accuracies_and_read_as_errors(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ["model", "imagenet_loss", "pets_loss"])
    with pytest.raises(UsageError, match="contradicts"):
        read(path)
    assert load([str(path)], Reading("error", "none"))[0].datasets == ["imagenet_loss", "pets_loss"]
