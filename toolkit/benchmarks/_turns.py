"""Whole processes timed in turns: while one runs the others are stopped, so that all meet the same machine.

Runs one after another would tell about the hour they ran in, wherever a machine's speed drifts or it has other work.
"""

import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

TURN_S = 1.0


class Ended(NamedTuple):
    """A process that has run."""

    seconds: float
    """Of its turns."""
    cpu_s: float
    """What it took of the cores, seconds: on a machine with other work the number to read."""
    status: int
    last_words: str
    """Its last line on stderr."""


def in_turns(commands: Mapping[str, Sequence[str]], prepared: str) -> dict[str, Ended]:
    """Run the commands from start to end, in turns of `TURN_S`; what became of each, by name.

    The one named ``prepared`` stops itself (SIGSTOP) before what is to be timed: its clock starts there.
    """
    runs = {name: _Run(command) for name, command in commands.items()}
    try:
        runs[prepared].prepare()
        waiting = list(runs.values())
        while waiting:
            waiting = [run for run in waiting if not run.turn()]
    finally:
        for run in runs.values():
            run.kill()
    return {name: run.ended() for name, run in runs.items()}


class _Run:
    """A process that moves in its turns alone, and the seconds of those."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command, self.seconds, self.cpu_s = list(command), 0.0, 0.0
        self.words = tempfile.TemporaryFile()  # noqa: SIM115 (read when the process has ended)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "subprocess.Popen[bytes]":
        """The process, in a group of its own; started by the first call."""
        if self.process is None:
            self.process = subprocess.Popen(
                self.command, stdout=subprocess.DEVNULL, stderr=self.words, start_new_session=True
            )
        return self.process

    def prepare(self) -> None:
        """Wait until the process stops itself, uncounted."""
        pid = self.start().pid
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        self.cpu_s = -sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def turn(self) -> bool:
        """Run for `TURN_S`; True when the process ended by then."""
        began = time.perf_counter()
        pid = self.start().pid
        os.killpg(pid, signal.SIGCONT)
        if not (ended := _ends_within(pid, TURN_S)):
            os.killpg(pid, signal.SIGSTOP)
        self.seconds += time.perf_counter() - began
        if ended:
            _, status, usage = os.wait4(pid, 0)
            self.start().returncode = os.waitstatus_to_exitcode(status)
            self.cpu_s += usage.ru_utime + usage.ru_stime
        return ended

    def ended(self) -> Ended:
        """What became of it, once it has ended."""
        self.words.seek(0)
        said = self.words.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(said) if line), "no word")
        return Ended(self.seconds, self.cpu_s, self.start().wait(), last)

    def kill(self) -> None:
        """End it if it still runs."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _ends_within(pid: int, seconds: float) -> bool:
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)
