"""A study in a group's folder: the group may write what anybody of it makes, but not what a user's jobs run."""

import os
import stat
from pathlib import Path

import pytest

from tests.study.strategies import result, task
from toolkit.executors.code import keep_code, snapshots
from toolkit.files import write_private
from toolkit.study import Study
from toolkit.study.submission import launch_lock, new_submission, record_path


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
@pytest.mark.parametrize("setgid", [True, False])
def test_the_group_may_write_where_the_folder_is_setgid(tmp_path: Path, umask: int, setgid: bool) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    folder.chmod(0o2775 if setgid else 0o775)
    before = os.umask(umask)
    try:
        study = Study.create(folder / "runs" / "study")
        study.declare([task()])
        with launch_lock(study):
            submission = new_submission(study, "slurm", [[task().id]], tmp_path)
            submission.write(record_path(study, submission))
        result(task()).write(study.result_path(task().id))
        write_private(study.path / "launch.json", b"{}")
        keep_code(study)
    finally:
        os.umask(before)
    own = {study.path / "launch.json", snapshots(study), *snapshots(study).rglob("*")}
    made = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder / "runs").rglob("*") if not path.is_symlink()}
    assert not [path for path in own if made[path] & 0o022]
    for path in made.keys() - own:
        assert bool(made[path] & stat.S_IWGRP) == (setgid or umask == 0o002), path
        assert not made[path] & stat.S_IWOTH
