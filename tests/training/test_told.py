"""What training tells of itself: where a result comes from, how far a task is, what its process uses."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

import toolkit
from tests.training.conftest import TINY, changed
from toolkit.errors import ToolkitError
from toolkit.study import find_dataset
from toolkit.study.result import Evaluation
from toolkit.training import meter, provenance
from toolkit.training.heartbeat import Heartbeat, ProgressState
from toolkit.training.process_group import ProcessGroup
from toolkit.training.record import failed_result
from toolkit.training.stop import SIGNALS, StopFlag, on_signals
from toolkit.training.threads import allocation, prepare
from toolkit.training.trainer import Trainer
from toolkit.training.trial import PackedTrial

COMMIT = "ab" * 20


@pytest.fixture
def trial(study, declare, data):
    task = declare(recipe=changed(TINY, epochs=4))
    trainer = Trainer(task, find_dataset("stripes", data).manifest, 10, ProcessGroup(torch.device("cpu")))
    return PackedTrial(study, trainer, ProgressState(task.id, 4))


def evaluation(epoch, wrong):
    return Evaluation(epoch=epoch, images=40, wrong_top1=wrong, wrong_top5=0, loss=1.0)


def test_what_is_left_is_the_steps_and_evaluations_ahead_at_the_pace_so_far(trial):
    """Resumed at step 4 of epoch 2, which began 3 s ago; the evaluation before took 2 s."""
    trainer, state = trial.trainer, trial.progress_state
    trainer.epoch, trainer.step = 1, 7
    began = trial.began - 3.0
    trial.report_step(began, 4)
    per_step = TINY.batch / state.images_per_s
    assert state.step == 7 and 1.0 <= per_step < 100
    assert state.seconds_left == pytest.approx((3 * 10 - 7) * per_step)
    trainer.evaluations.append(evaluation(1, 10))
    trainer.clock.evaluate = 2.0
    trial.report_step(began, 4)
    assert state.seconds_left == pytest.approx((3 * 10 - 7) * TINY.batch / state.images_per_s + 3 * 2.0)


def test_an_epochs_end_is_told_on_one_line(trial, capsys):
    trial.trainer.evaluations.append(evaluation(1, 10))
    trial.trainer.epoch, trial.trainer.step = 1, 0
    trial.report_epoch()
    assert capsys.readouterr().err.endswith("on stripes: epoch 1/4, error 25.00%, resumed\n")
    trial.progress_state.images_per_s = 123.4
    trial.report_epoch()
    assert capsys.readouterr().err.endswith("epoch 1/4, error 25.00%, 123 images/s\n")
    assert (trial.progress_state.epoch, trial.progress_state.step, trial.progress_state.error) == (1, 0, 0.25)


def test_a_beat_has_the_state_the_job_and_the_usage(study, trial, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "123")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "4")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    state = trial.progress_state
    state.phase, state.epoch, state.step, state.steps, state.restarts = "training", 1, 7, 10, 1
    state.images_per_s, state.seconds_left, state.error = 50.0, 60.0, 0.25
    Heartbeat(study, silent=True).watch(state)
    assert study.progress(state.task_id) is None
    heartbeat = Heartbeat(study)
    heartbeat.watch(state)
    found = study.progress(state.task_id)
    told = {name: getattr(found, name) for name in ("phase", "epoch", "epochs", "step", "steps", "images_per_s")}
    assert told == {"phase": "training", "epoch": 1, "epochs": 4, "step": 7, "steps": 10, "images_per_s": 50.0}
    assert (found.seconds_left, found.error, found.job, found.restarts) == (60.0, 0.25, "123_4", 2)
    assert found.pid == os.getpid() and found.host == provenance.host()
    assert found.usage.gpus == 0 and found.usage.memory_gb > 0.01
    state.restarts = 3
    heartbeat.beat(state)
    assert study.progress(state.task_id).restarts == 3


def test_a_beat_that_cannot_be_written_is_told_once(study, trial, capsys):
    study.progress_path(trial.task.id).mkdir()
    heartbeat = Heartbeat(study)
    heartbeat.watch(trial.progress_state)
    heartbeat.beat(trial.progress_state)
    [line] = capsys.readouterr().err.splitlines()
    assert f"{trial.task.id}.json cannot be written (Is a directory)" in line


def test_usage_is_what_was_asked_for_and_what_was_seen(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\ncat "$0.line"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(meter, "GPU_EVERY_S", -1.0)
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_MEM_PER_CPU", "SLURM_MEM_PER_NODE"):
        monkeypatch.delenv(name, raising=False)
    Path(f"{program}.line").write_text("50, 2048, 100\n")
    used = meter.Meter(gpus=1)
    Path(f"{program}.line").write_text("100, 1024, 300\n")
    used.sample()
    Path(f"{program}.line").write_text("no number\n")
    used.sample()
    found = used.usage()
    assert (found.gpus, found.gpu_use, found.gpu_memory_gb, found.gpu_watts) == (1, 0.75, 2.0, 200.0)
    assert found.cpus == len(os.sched_getaffinity(0)) and found.memory_asked_gb is None
    assert 0 <= found.cpu_s < 60 and 0 <= found.seconds < 60 and 0.01 < found.memory_gb < 64
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "2048")
    assert used.usage().memory_asked_gb == 2.0
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "512")
    assert (used.usage().cpus, used.usage().memory_asked_gb) == (3, 1.5)


def test_a_failure_before_the_net_stood_has_the_dataset_where_it_was_known(declare, data, monkeypatch):
    monkeypatch.setenv("TOOLKIT_IMAGE_DIGEST", "sha256:d")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    task, manifest = declare(), find_dataset("stripes", data).manifest.model_copy(update={"metric": "top5"})
    began = time.time() - 5
    result = failed_result(task, manifest, KeyError("head"), device="a card", started=began)
    assert (result.id, result.task, result.status) == (task.id, task, "failed")
    assert (result.metric, result.classes) == ("top5", 4)
    assert result.failure.kind == "KeyError" and result.failure.message == "'head'"
    assert "KeyError: 'head'" in result.failure.trace
    assert 5 <= result.timing.total_s < 100 and result.timing.images_per_s is None
    made = result.provenance
    assert (made.device, made.pack, made.started, made.restarts, made.ways) == ("a card", 1, began, 2, ())
    assert (made.arithmetic, made.image_digest, made.dataset_hash) == ("", "sha256:d", "hash-of-stripes")
    assert made.finished >= began + 5 and made.toolkit == toolkit.__version__ and made.versions["python"]
    unknown = failed_result(task, None, ToolkitError(""), device="a card", started=began)
    assert (unknown.metric, unknown.classes, unknown.failure.message) == ("top1", 0, "ToolkitError")


def test_a_job_is_named_as_slurm_names_it(monkeypatch):
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    assert provenance.job() is None and provenance.job_restarts() == 0
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert provenance.job() == "77"


def git(root, *arguments):
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    return subprocess.run(["git", "-C", root, *who, *arguments], capture_output=True, text=True, check=True).stdout


def test_a_revision_is_gits_with_a_word_for_changes_or_the_copys_own(tmp_path):
    assert provenance.revision_of(tmp_path) is None
    git(tmp_path, "init", "--initial-branch=main", ".")
    (tmp_path / "a").write_text("a")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "a")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    (tmp_path / "untracked").write_text("not code that runs")
    assert provenance.revision_of(tmp_path) == commit
    git(tmp_path, "worktree", "add", tmp_path / "beside", "-b", "beside")
    assert provenance.read_revision(tmp_path / "beside") == commit == provenance.revision_of(tmp_path / "beside")
    (tmp_path / "a").write_text("b")
    assert provenance.revision_of(tmp_path) == f"{commit}+dirty"
    (tmp_path / "beside" / ".git").write_bytes(b"gitdir: \xff")
    assert provenance.read_revision(tmp_path / "beside") is None
    (tmp_path / "REVISION").write_text(f" {COMMIT}+dirty\n")
    assert provenance.revision_of(tmp_path) == f"{COMMIT}+dirty"
    (tmp_path / "REVISION").write_text("\n")
    assert provenance.revision_of(tmp_path) is None


def test_cores_are_those_of_the_allocation_and_torch_has_as_many_threads(monkeypatch):
    before = torch.get_num_threads()
    for name in ("SLURM_CPUS_PER_TASK", "OMP_WAIT_POLICY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        monkeypatch.delenv(name, raising=False)
    assert allocation() == len(os.sched_getaffinity(0))
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    try:
        assert prepare(0) == torch.get_num_threads() == allocation() == 3
        assert prepare(2) == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"  # whoever sets it means it
    assert os.environ.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY") == "16384"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_asks_for_an_end_once_and_the_handlers_of_before_come_back(number):
    before = signal.getsignal(number)
    with on_signals() as stop:
        assert not stop
        signal.raise_signal(number)
        assert stop and stop.reason == number.name
        signal.raise_signal(signal.SIGURG)
        assert stop.reason == number.name
    assert signal.getsignal(number) == before


def test_the_first_reason_stays():
    stop = StopFlag()
    stop.set("one")
    stop.set("two")
    assert stop.reason == "one"
