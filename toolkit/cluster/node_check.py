"""What a node sees: run by `toolkit.doctor` as a job, in the image where there is one.

python -m toolkit.cluster.node_check DATA
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from toolkit.cli import run, say
from toolkit.cluster.kernels import try_kernels
from toolkit.study.dataset import MANIFEST

READ = "import sys; from ffcv.reader import Reader; assert Reader(sys.argv[1]).num_samples == 64"


def main(argv: Sequence[str]) -> int:
    """Print one JSON document: host, cores, datasets, GPUs and which compute, whether a tiny dataset trains a net."""
    document = {
        "host": socket.gethostname(),
        "cores": len(os.sched_getaffinity(0)),
        "datasets": sorted(path.parent.name for path in Path(argv[0]).glob(f"*/{MANIFEST}")),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "kernels": try_kernels()._asdict(),
        "round_trip": round_trip(),
    }
    say(json.dumps(document))
    return 0


def round_trip() -> str:
    """Write a few pictures, read them by FFCV, train a net on them; empty when that worked, else the last line said."""
    with tempfile.TemporaryDirectory() as folder:
        size = ["--train", "64", "--val", "16", "--size", "16", "--classes", "2", "--workers", "1"]
        task = ["--array", "0", "--recipe", "smoke", "--executor", "debug", "--dataset", "probe"]
        calls = [
            ["-m", "data_prep.synthetic", "--family", "textures", "--name", "probe", "--data", folder, *size],
            ["-c", READ, f"{folder}/probe/train.beton"],
            ["-m", "toolkit.launch", *task, "--data", folder, "--study", f"{folder}/study"],
        ]
        for call in calls:
            done = subprocess.run([sys.executable, *call], capture_output=True, text=True, check=False)
            if done.returncode:
                return (done.stderr.strip().splitlines() or [f"{call[1]} ended with status {done.returncode}"])[-1]
    return ""


if __name__ == "__main__":
    run(main)
