"""What a node sees: run by `toolkit.doctor` as a job, in the image where there is one.

python -m toolkit.executors.probe DATA
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from toolkit.cli import run
from toolkit.study.dataset import MANIFEST


def main(argv: Sequence[str]) -> int:
    """Print one JSON document: host, cores, datasets, GPUs, and whether a tiny dataset can be trained on."""
    document = {
        "host": socket.gethostname(),
        "cores": len(os.sched_getaffinity(0)),
        "datasets": sorted(path.parent.name for path in Path(argv[0]).glob(f"*/{MANIFEST}")),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "round_trip": round_trip(),
    }
    print(json.dumps(document))
    return 0


def round_trip() -> str:
    """Write a dataset of a few pictures, train one net on it; empty when that worked, else the last line it said."""
    with tempfile.TemporaryDirectory() as folder:
        size = ["--train", "64", "--val", "16", "--size", "16", "--classes", "2", "--workers", "1"]
        task = ["--array", "0", "--recipe", "smoke", "--executor", "debug", "--dataset", "probe"]
        calls = [
            ["data_prep.synthetic", "--family", "textures", "--name", "probe", "--data", folder, *size],
            ["toolkit.launch", *task, "--data", folder, "--study", f"{folder}/study"],
        ]
        for call in calls:
            done = subprocess.run([sys.executable, "-m", *call], capture_output=True, text=True, check=False)
        results = list(Path(folder).glob("study/results/*.json"))
        trained = results and json.loads(results[0].read_bytes())["status"] != "failed"
        return "" if trained else (done.stderr.strip().splitlines() or ["no result was written"])[-1]


if __name__ == "__main__":
    run(main)
