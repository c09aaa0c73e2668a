"""Check and measure training on this machine's GPU, within the minutes given.

    python -m toolkit.bench gpu --minutes 8 --out DIR

Correctness first (a pack equals its nets alone, a resumed run an uninterrupted one, ...), then the ceilings, steps,
CUDA graphs (one after another and on streams), fused batch norms, grouped convolutions, packs, plain PyTorch as a peer,
decoding threads beside launching, and a profile by kinds of kernels. Each part has a share of the time and writes
DIR/PART.json row by row; on a GPU it is a process of its own, which is ended when its share is over. DIR/gpu.md has all
tables. Without a GPU everything runs small, to see that it runs; what needs one says so.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.cli import Parser, complain, parser, run, say
from toolkit.errors import UsageError
from toolkit.files import make_folder, write_atomic
from toolkit.training.threads import allocation, prepare

SHARES = {
    "correctness": 0.2, "ceilings": 0.03, "steps": 0.12, "graphs": 0.1, "fused": 0.1, "grouped": 0.03, "packs": 0.2,
    "peer": 0.08, "threads": 0.07, "profile": 0.06,
}  # fmt: skip
"""Shares of the time, the rest for starts and pictures (our choice)."""
GRACE_S = 5.0
"""Beyond its share, so that a part ends by itself after the row it is at."""


def main(argv: Sequence[str]) -> int:
    """Run all parts, or the ones named. Status 1 when a check is not passed or a part was broken off."""
    given = _parser().parse_args(argv)
    if given.minutes <= 0:
        raise UsageError("--minutes must be above 0")
    began = time.monotonic()  # a process takes seconds to import torch, and they are of its part's share
    prepare(allocation())
    make_folder(given.out)
    if given.inside:
        _measure(given.inside, given.only[0], given.out, began + given.minutes * 60)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        _write_pictures(Path(folder))
        for name in given.only:
            _run_part(name, given.out, given.minutes * 60 * SHARES[name], folder)
    documents = [json.loads((given.out / f"{name}.json").read_text()) for name in given.only]
    write_atomic(given.out / "gpu.md", markdown(documents).encode())
    say(markdown(documents))
    return int(any("error" in d or not all(row.get("right", True) for row in d["rows"]) for d in documents))


def _parser() -> Parser:
    arguments = parser("toolkit.bench gpu", __doc__)
    arguments.add_argument("--minutes", type=float, default=8.0, help="for all parts together (default 8)")
    arguments.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the tables go")
    arguments.add_argument(
        "--only", nargs="+", choices=SHARES, default=list(SHARES), metavar="PART", help="these parts"
    )
    arguments.add_argument("--inside", metavar="DIR", help="run the one part in this process, on the pictures of DIR")
    return arguments


def _write_pictures(folder: Path) -> None:
    import torch

    from toolkit.benchmarks._scenery import write_beton

    write_beton(folder, *((1024, 8, 256, 320) if torch.cuda.is_available() else (64, 8, 40, 48)))


def _run_part(name: str, out: Path, seconds: float, pictures: str) -> None:
    import torch

    say(f"{name}: at most {seconds:.0f} s", to=sys.stderr)
    (out / f"{name}.json").unlink(missing_ok=True)
    if not torch.cuda.is_available():
        return _measure(pictures, name, out, time.monotonic() + seconds)
    command = [sys.executable, "-m", "toolkit.bench", "gpu", "--only", name, "--inside", pictures]
    command += ["--out", str(out), "--minutes", str(seconds / 60)]
    environment = os.environ | {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}  # what sums in a fixed order need
    try:
        status = subprocess.run(command, timeout=seconds + GRACE_S, env=environment, check=False).returncode
        why = f"ended with status {status}" if status else ""
    except subprocess.TimeoutExpired:
        why = "took longer than its share of the time"
    if why:
        complain(f"part {name} {why}")
        _mark(out / f"{name}.json", name, why)


def _mark(path: Path, name: str, why: str) -> None:
    """Say in a part's file what ended it; its rows stay."""
    document = json.loads(path.read_text()) if path.is_file() else {"part": name, "rows": []}
    write_atomic(path, json.dumps({"error": why, **document}, indent=1).encode())


def _measure(pictures: str, name: str, out: Path, until: float) -> None:
    """Run one part here, ``until`` then by the monotonic clock; what it raises is written into its file."""
    from toolkit.benchmarks import _gpu_checks, _gpu_layers, _gpu_rates
    from toolkit.benchmarks._part import Part
    from toolkit.training import device

    chosen = device.choose()
    part = Part(name, out, until - time.monotonic(), _gpu_rates.about(chosen, allocation()))
    scale = _gpu_rates.Scale(chosen, Path(pictures), **_sizes(chosen.type == "cuda"))
    error = ""
    try:
        if name == "correctness":
            _gpu_checks.correctness(part, chosen, min(allocation(), 8))
        else:
            (_gpu_rates.RATES | _gpu_layers.RATES)[name](part, scale)
    except Exception as caught:  # whatever a device or a driver raises: the other parts are to run
        error = ": ".join([type(caught).__name__, *str(caught).splitlines()[:1]])
        complain(f"part {name}: {error}")
    part.close(error)


def _sizes(cuda: bool) -> dict[str, Any]:
    """What is measured; on a processor next to nothing, to see that everything runs."""
    if not cuda:
        few = {"sides": (32,), "batch": 4, "nets": (1,), "packs": (2, 1), "repeats": 1, "workers": (1,)}
        return {**few, "product": 256, "copied": 1 << 20}
    some = {"sides": (224, 32), "batch": 128, "nets": (0, 1, 17), "packs": (8, 1, 16, 4), "repeats": 20}
    return {**some, "workers": (4, allocation()), "product": 8192, "copied": 1 << 31}


def markdown(documents: Sequence[Mapping[str, Any]]) -> str:
    """A table for each part, with what it was measured on."""
    first = {key: value for document in documents for key, value in document.items()}
    about = ", ".join(f"{k} {first[k]}" for k in ("device", "driver", "torch", "cuda", "cudnn", "cores") if k in first)
    texts = [f"# GPU benchmark\n\n{about}."]
    for document in documents:
        texts.append(f"## {document['part']}")
        if "error" in document:
            texts.append(f"Broken off: {document['error']}.")
        if "cut" in document:
            texts.append("Its share of the time was over before all rows.")
        texts.append(_table(document["rows"]) if document["rows"] else "No row was measured.")
    return "\n\n".join(texts) + "\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns), *([_cell(row.get(key, "")) for key in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    text = f"{value:,.4g}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    run(main)
