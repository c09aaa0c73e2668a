"""The builder, killed by SIGKILL as it is about to give the file after the N-th its name.

python -m tests.imagenot.dying N STAGE BUILD ...

Whatever a stage leaves on disk it leaves by a rename, so between two of them is every place that a kill can hit: what
was written lies there whole, and what was being written lies there under a temporary name.
"""

import os
import signal
import sys
from pathlib import Path

from data_prep.imagenot.__main__ import main
from toolkit.cli import run

_rename = Path.replace


def _rename_or_die(path: Path, target: Path) -> Path:
    if not _left:
        os.kill(os.getpid(), signal.SIGKILL)
    _left.pop()
    return _rename(path, target)


if __name__ == "__main__":
    _left = [None] * int(sys.argv.pop(1))
    Path.replace = _rename_or_die
    run(main)
