"""Records of launches: whose process still runs, who may end it, and one launcher at a time."""

import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.errors import ToolkitError
from toolkit.study import Study
from toolkit.study.submission import (
    Submission,
    end_launcher,
    launch_lock,
    launcher_lives,
    new_submission,
    process_began,
    process_lives,
    record_path,
    submissions,
)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.create(tmp_path / "study")


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose name looks like the end of what /proc says before it."""
    program = tmp_path / "s) Z (1"
    shutil.copy("/bin/sleep", program)
    process = subprocess.Popen([program, "600"])
    yield process
    process.kill()
    process.wait()


def recorded(study: Study, **changes: object) -> Submission:
    made = new_submission(study, "local", [["0" * 16]], Path("data")).model_copy(update=changes)
    made.write(record_path(study, made))
    return made


def test_a_process_lives_until_it_is_ended_whatever_its_name(sleeper: subprocess.Popen[bytes]) -> None:
    began = process_began(sleeper.pid)
    assert process_lives(sleeper.pid) and began is not None and began == process_began(sleeper.pid)
    assert began != process_began(os.getpid())
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # a zombie until the fixture waits for it
    assert not process_lives(sleeper.pid)
    assert process_began(2**22 + 1) is None and not process_lives(2**22 + 1)


def test_a_launcher_lives_by_its_pid_and_beginning(study: Study, sleeper: subprocess.Popen[bytes]) -> None:
    began = process_began(sleeper.pid)
    assert launcher_lives(study, recorded(study, pid=sleeper.pid, began=began))
    assert launcher_lives(study, recorded(study, pid=sleeper.pid, began=None))  # an earlier version's
    assert not launcher_lives(study, recorded(study, pid=sleeper.pid, began="another boot/1"))
    assert not launcher_lives(study, recorded(study, pid=2**22 + 1, began=None))
    elsewhere = recorded(study, host="elsewhere", pid=2**22 + 1)
    assert launcher_lives(study, elsewhere)
    long_ago = study.clock() - 1000
    os.utime(record_path(study, elsewhere), (long_ago, long_ago))
    assert not launcher_lives(study, elsewhere)


def test_only_the_process_that_wrote_the_record_is_ended(study: Study, sleeper: subprocess.Popen[bytes]) -> None:
    with pytest.raises(ToolkitError, match=rf"an earlier version's\): end process {sleeper.pid} by hand"):
        end_launcher(study, recorded(study, pid=sleeper.pid, began=None))
    with pytest.raises(ToolkitError, match=rf"process {sleeper.pid} is not the one that wrote"):
        end_launcher(study, recorded(study, pid=sleeper.pid, began="another boot/1"))
    assert process_lives(sleeper.pid)
    end_launcher(study, recorded(study, pid=sleeper.pid, began=process_began(sleeper.pid)))
    assert sleeper.wait(30) == -signal.SIGTERM


def test_a_record_is_named_after_its_study_in_letters_that_every_shell_takes(tmp_path: Path) -> None:
    made = Study.create(tmp_path / 'a "study" \u00e9 of a name that is far too long')
    name = new_submission(made, "local", [], Path("data")).name
    assert name.startswith("a--study----of-a-name-th.") and name.isascii()


def test_records_are_read_in_their_order_and_a_copy_is_named(study: Study) -> None:
    late, early = recorded(study, created=2.0), recorded(study, created=1.0)
    assert [one.name for one in submissions(study)] == [early.name, late.name]
    shutil.copy(record_path(study, late), study.room("submissions") / "copy.json")
    with pytest.raises(ToolkitError, match=rf"copy\.json is the record of {late.name}: a copy under another name"):
        submissions(study)


@pytest.fixture(params=[None, errno.ENOSYS, errno.ENOLCK])
def locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the file system knows flock: some that clusters have do not, and none of them can be had here."""
    if request.param is not None:

        def refuse(*_: object) -> None:
            raise OSError(request.param, "no locks")

        monkeypatch.setattr(fcntl, "flock", refuse)
    return request.param is None


def test_one_launcher_at_a_time(study: Study, locks: bool) -> None:
    order: list[str] = []

    def second() -> None:
        with launch_lock(study):
            order.append("second")

    other = threading.Thread(target=second)
    with launch_lock(study):
        assert (study.room("submissions") / ".lock.held").exists() != locks
        other.start()
        other.join(0.3)
        assert other.is_alive()
        order.append("first")
    other.join(30)
    assert order == ["first", "second"] and not (study.room("submissions") / ".lock.held").exists()


def test_what_a_dead_launcher_left_locks_nobody_out(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    held = study.room("submissions") / ".lock.held"
    held.write_text(f"{socket.gethostname()} {os.getpid()} another-boot/1")
    with launch_lock(study):
        assert held.read_text() == f"{socket.gethostname()} {os.getpid()} {process_began(os.getpid())}"
    held.write_text("elsewhere 1 another-boot/1")  # nobody here can tell whether it runs
    ticks = iter(range(0, 10_000, 50))
    monkeypatch.setattr("time.monotonic", lambda: next(ticks))
    with pytest.raises(ToolkitError, match=r"has held .*\.lock\.held for two minutes"), launch_lock(study):
        pass
    assert held.read_text() == "elsewhere 1 another-boot/1"


def test_another_fault_of_the_lock_is_no_missing_lock(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="broken"), launch_lock(study):
        pass
