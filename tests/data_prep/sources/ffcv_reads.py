"""Run as a program: reads .beton files with FFCV's Loader and saves what it yields beside each (NAME.npz).

The tests start it with NUMBA_DISABLE_JIT=1, which makes FFCV run as plain Python: nothing is compiled, the reading is
FFCV's own.
"""

import sys

import numpy as np
from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption


def read(path):
    pipelines = {"image": [SimpleRGBImageDecoder()], "label": [IntDecoder()]}
    loader = Loader(
        path, 4, num_workers=1, os_cache=True, order=OrderOption.SEQUENTIAL, drop_last=False, pipelines=pipelines
    )
    batches = [(images.copy(), labels.copy().ravel()) for images, labels in loader]
    images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return {"images": images, "labels": labels}


for beton in sys.argv[1:]:
    np.savez(f"{beton}.npz", **read(beton))
