"""Ways: what a GPU can do other than PyTorch's own, each asked for by name (``--ways``); none is taken unasked."""

from argparse import _ActionsContainer
from collections.abc import Mapping, Sequence
from typing import Literal

from toolkit.errors import UsageError

Way = Literal["cuda-graphs", "fused-norm", "dense-groups", "pinned-batches"]
WAYS: Mapping[Way, str] = {
    "cuda-graphs": "sampled nets: an update is replayed as one CUDA graph, and an evaluation",
    "fused-norm": "sampled nets: batch norm, addition and ReLU as one operation (Triton)",
    "dense-groups": "sampled nets: convolutions with many small groups as dense ones",
    "pinned-batches": "batches are decoded into page-locked memory, which saves a copy",
}
"""Each with what it does. None is on by itself: no card has measured them (docs/benchmarks/gpu.md)."""


def add_ways(arguments: _ActionsContainer) -> None:
    """Add the option ``--ways``: no word is None, and no name after it means none."""
    told = "; ".join(f"{way}: {what}" for way, what in WAYS.items())
    arguments.add_argument(
        "--ways", nargs="*", choices=WAYS, metavar="WAY", help=f"on GPUs, where toolkit.bench gpu gains by it: {told}"
    )


def check_ways(ways: Sequence[Way], gpus: int) -> None:
    """Raise `UsageError` where ways are asked for and no GPU is there to take them."""
    if ways and not gpus:
        named = " ".join(ways)
        raise UsageError(f"--ways {named}: a GPU's, and there is none for these tasks; --ways alone takes none")
