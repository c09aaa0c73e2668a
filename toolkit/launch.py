"""Train a population of architectures on datasets: in a pool here, as Slurm array jobs, or in this process.

    python -m toolkit.launch --array 0-499 --dataset A B --study NAME
    python -m toolkit.launch --models torchvision/resnet18 timm/mobilenetv3_small_050 --executor local
    python -m toolkit.launch --study NAME                    # go on with what the study has declared
    python -m toolkit.launch --study NAME --retry failed     # and run failed tasks again

Launching is reconciliation: what is declared and has no result is submitted, unless it is in the queue already. All
settings are checked before anything is queued.
"""

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from toolkit.cli import parser, print_json, run
from toolkit.errors import ToolkitError, UsageError
from toolkit.names import unknown

RETRIES: Mapping[str, frozenset[str]] = {
    "failed": frozenset({"failed", "damaged"}),
    "diverged": frozenset({"diverged"}),
    "lost": frozenset(),  # what was lost or preempted is run again without being asked
    "all": frozenset({"failed", "damaged", "diverged"}),
}


def main(argv: Sequence[str]) -> int:
    """Plan, then run or submit."""
    given = _parser().parse_args(argv)
    if given.profile_help:
        from toolkit.executors.profile import profile_help

        print(profile_help())
        return 0
    if given.cancel:
        return _cancel(given)
    return _launch(given)
