"""Attacks of somebody who can write to a study's folder, or who made the archive that it came from."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from data_prep.imagenot.card import without_secrets
from data_prep.storage.tar_entries import content_of, members
from data_prep.writing.staging import remove_leftovers
from tests.conftest import real_part
from tests.study.strategies import manifest
from tests.study.strategies import task as make_task
from toolkit.cluster.container import folders
from toolkit.errors import ToolkitError
from toolkit.executors.local import LocalExecutor
from toolkit.imagefile.digests import as_recorded
from toolkit.imagefile.format import CONTENT
from toolkit.imagefile.reader import Beton
from toolkit.launch import main as launch
from toolkit.launching.reconcile import cancel
from toolkit.study import Manifest, Study, Task
from toolkit.study.logs import task_log
from toolkit.study.scan import scan
from toolkit.study.states import task_states
from toolkit.study.submission import (
    ONE_BY_ONE,
    launch_lock,
    launcher_lives,
    new_submission,
    record_path,
    submissions,
)
from toolkit.training.provenance import revision_of

SECRET = "a file of the user's"


class Unwatched:
    """A display that shows nothing."""

    def update(self, in_flight: object) -> None:
        """Nothing is shown."""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    study = Study.create(tmp_path / "study")
    study.declare([make_task()])
    return study


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text(SECRET)
    return path


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
@pytest.mark.parametrize("room", ["results", "progress", "submissions", "tasks"])
def test_what_is_no_file_is_said_and_nobody_waits_for_it(study: Study, plant, room: str) -> None:
    task_id = make_task().id
    name = {"submissions": "x.json", "tasks": "0001-x.jsonl"}.get(room, f"{task_id}.json")
    plant(study.room(room) / name)
    if room in ("tasks", "submissions"):
        with pytest.raises(ToolkitError, match=name):
            task_states(study, {})
    elif room == "results":
        assert task_states(study, {})[task_id].state == "damaged"
        assert name in scan(study).problems[0]
    else:
        assert study.progress(task_id) is None
        assert task_states(study, {})[task_id].state == "waiting"


def test_the_lock_truncates_no_file_through_a_link(study: Study, victim: Path) -> None:
    (study.room("submissions") / ".lock").symlink_to(victim)
    with pytest.raises(ToolkitError, match="if it is a link"), launch_lock(study):
        pass
    assert victim.read_text() == SECRET


def test_a_result_written_over_a_link_leaves_what_it_names_alone(study: Study, victim: Path) -> None:
    submission = new_submission(study, "local", [], study.path)
    path = record_path(study, submission)
    path.symlink_to(victim)
    submission.write(path)
    assert victim.read_text() == SECRET and not path.is_symlink()


def test_a_worker_writes_its_log_through_no_link(study: Study, victim: Path) -> None:
    """Whoever sees a submission's record knows the log's name before the first worker starts."""
    executor = LocalExecutor(study, study.path, manner=ONE_BY_ONE, jobs=1, display=lambda *_: nullcontext(Unwatched()))
    (submission,) = executor.submit([(make_task().id,)])
    (study.room("logs") / f"{submission.name}.worker0.log").symlink_to(victim)
    with pytest.raises(ToolkitError, match=r"worker0\.log"):
        executor.run(submission)
    assert victim.read_text() == SECRET


def test_a_log_that_is_a_fifo_is_not_waited_for(study: Study) -> None:
    submission = new_submission(study, "local", [[make_task().id]], study.path)
    submission.write(record_path(study, submission))
    os.mkfifo(study.room("logs") / f"{submission.name}.worker0.log")
    assert task_log(study, make_task().id) == ""


def test_an_id_that_leads_elsewhere_moves_no_file(study: Study, data: Path, tmp_path: Path) -> None:
    """The result of a task that is tried again is put aside: RESULTS/ID.json, whatever the id says."""
    (tmp_path / "home").mkdir()
    victim = tmp_path / "home" / "precious.json"
    victim.write_text('{"status": "failed", "id": "precious"}')
    (study.room("results") / "evil").symlink_to(tmp_path / "home")
    (study.room("logs") / "evil").mkdir()
    line = {"id": "evil/precious", "task": make_task(dataset="stripes").model_dump(mode="json")}
    line["task"]["dataset_hash"] = "hash-of-stripes"
    (study.room("tasks") / "0000-0.jsonl").write_text(json.dumps(line) + "\n")
    call = ["--study", str(study.path), "--data", str(data), "--executor", "debug", "--retry", "all"]
    with pytest.raises(ToolkitError, match="'evil/precious' is no id of a task"):
        launch(call)
    assert victim.exists()


@pytest.mark.parametrize("id_", ["../../x", "/etc/passwd", "", "A" * 16, "0" * 16 + "\n", "0" * 15])
def test_a_record_whose_names_lead_elsewhere_is_no_record(study: Study, id_: str) -> None:
    task, submission = make_task(), new_submission(study, "local", [[make_task().id]], study.path)
    for change in ({"elements": [[id_]]}, {"job": id_}, {"name": id_ or "../x"}, {"name": ".x"}):
        path = study.room("submissions") / "x.json"
        path.write_text(json.dumps({**submission.model_dump(), **change}))
        with pytest.raises(ToolkitError, match=r"x\.json is "):
            submissions(study)
    with pytest.raises(ValueError, match="pattern"):
        Task.model_validate({**task.model_dump(), "start": {"task": id_, "dataset": "d"}})


@pytest.mark.parametrize("file", ["../../etc/passwd", "/dev/zero", ""])
def test_a_manifest_names_files_of_its_folder_alone(tmp_path: Path, file: str) -> None:
    document = manifest("a", b"1", b"2").model_dump(mode="json")
    document["splits"]["val"]["file"] = file
    (tmp_path / "dataset.json").write_text(json.dumps(document))
    with pytest.raises(ToolkitError, match=r"splits\.val\.file"):
        Manifest.read(tmp_path / "dataset.json")


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("name", ["train.beton", "train.digests", "shard.tar", "archive.tgz", "lock"])
def test_what_is_no_file_in_a_datasets_folder_is_not_waited_for(tmp_path: Path, plant, name: str) -> None:
    path = tmp_path / name
    if name == "lock":
        path = tmp_path / ".tmp-1-x-set" / "lock"
        path.parent.mkdir()
    plant(path)
    if name == "lock":
        remove_leftovers(tmp_path / "set")
        assert not path.parent.exists()
        return
    read = {
        "train.beton": lambda: Beton.open(path),
        "train.digests": lambda: as_recorded(path.with_suffix(".beton"), np.zeros(3, CONTENT)),
        "shard.tar": lambda: list(members(path)),
        "archive.tgz": lambda: content_of(path, "x"),
    }[name]
    with pytest.raises(ToolkitError, match=name):
        read()


@pytest.mark.parametrize("name", ["/usr", "/usr/lib", "/etc", "/proc/self", "/lib", "/dev/shm"])
def test_a_link_covers_nothing_that_the_image_brings(study: Study, name: str) -> None:
    (study.path / "link").symlink_to(name)
    assert not [path for path in folders([study.path]) if path == Path(name).resolve()]


@pytest.fixture
def stranger():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("began", ["recorded by another process", None])
def test_cancelling_ends_no_process_that_has_the_pid_by_chance(study: Study, stranger, began: str | None) -> None:
    submission = new_submission(study, "local", [[make_task().id]], study.path)
    update = {"pid": stranger.pid, "host": socket.gethostname(), "began": began}
    submission.model_copy(update=update).write(record_path(study, submission))
    if began is None:
        with pytest.raises(ToolkitError, match="by hand"):
            cancel(str(study.path))
    else:
        assert cancel(str(study.path))["cancelled"] == []
    assert stranger.poll() is None


def test_the_process_that_made_a_submission_is_known_again(study: Study) -> None:
    submission = new_submission(study, "local", [], study.path)
    submission.write(record_path(study, submission))
    assert launcher_lives(study, submission)
    caught = []
    before = signal.signal(signal.SIGTERM, lambda *_: caught.append(True))
    try:
        cancel(str(study.path))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught


def test_a_link_to_the_root_binds_nothing_into_the_image(study: Study, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (study.path / "root").symlink_to("/")
    (study.path / "above").symlink_to("..")
    (study.path / "more").symlink_to(scratch)
    bound = folders([study.path])
    assert Path("/") not in bound and study.path.parent not in bound and scratch in bound


def test_the_configuration_of_a_strangers_repository_runs_nothing(tmp_path: Path) -> None:
    if os.getuid():
        real_part("another user", "run as root")

    def run(*call: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *call], check=True, capture_output=True)

    run("init", "-q")
    (tmp_path / "code.py").write_text("x = 1")
    run("add", ".")
    run("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "first")
    (tmp_path / "monitor").write_text(f"#!/bin/sh\ntouch {tmp_path}/attacked\n")
    (tmp_path / "monitor").chmod(0o755)
    run("config", "core.fsmonitor", str(tmp_path / "monitor"))
    (tmp_path / "attacked").unlink(missing_ok=True)
    for path in [tmp_path / ".git", *(tmp_path / ".git").rglob("*")]:
        os.chown(path, 12345, 12345)
    assert len(revision_of(tmp_path) or "") == 40
    assert not (tmp_path / "attacked").exists()


def test_a_card_names_sources_without_passwords_and_signatures() -> None:
    assert without_secrets("s3://key:secret@bucket/part.parquet?X-Amz-Signature=1#x") == "s3://bucket/part.parquet"
    assert without_secrets("/data/part?.parquet") == "/data/part?.parquet"
