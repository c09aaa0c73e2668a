"""One product on each visible GPU, held against the CPU's: `toolkit.doctor` runs this as a process of its own.

python -m toolkit.training.kernels
"""

import json
import os
from collections.abc import Sequence

import torch

from toolkit.cli import run, say
from toolkit.cluster.kernels import DRIVER, Kernels, promised
from toolkit.training import device

SIDE = 512
TOLERANCE = 1e-3
"""Relative distance (Frobenius norm) up to which two products are the same one: 10 bits of mantissa (TF32) suffice."""


def main(_argv: Sequence[str]) -> int:
    """Print what `try_devices` found of the visible GPUs as one JSON document."""
    found = try_devices([torch.device("cuda", i) for i in range(torch.cuda.device_count())])
    if not found.right + found.trouble and (promise := promised(os.environ, DRIVER.is_file())):
        found = Kernels([], [str(device.no_gpu(promise))])
    say(json.dumps(found._asdict()))
    return 0


def try_devices(devices: Sequence[torch.device]) -> Kernels:
    """Multiply two matrices on each device; an error of one does not keep the others from being tried."""
    found = Kernels([], [])
    for each in devices:
        try:
            apart = _distance(each)
        except RuntimeError as error:
            found.trouble.append(device.not_computing(each, str(error).splitlines()[0]))
        else:
            if apart <= TOLERANCE:  # no number is not
                found.right.append(f"{each} ({device.describe(each)})")
            else:
                found.trouble.append(device.not_computing(each, f"a product is {apart:.1e} from the CPU's"))
    return found


def _distance(each: torch.device) -> float:
    """The relative distance of a product of float32 matrices on ``each`` from the CPU's in float64."""
    torch.manual_seed(0)
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    exact = a.double() @ b.double()
    found = (a.to(each) @ b.to(each)).cpu().double()
    return float((found - exact).norm() / exact.norm())


if __name__ == "__main__":
    run(main)
