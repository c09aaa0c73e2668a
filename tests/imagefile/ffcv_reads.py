"""Run as a program: reads .beton files with FFCV's Loader and saves what it yields beside each (NAME.npz).

The tests start it with NUMBA_DISABLE_JIT=1, which makes FFCV run as plain Python: nothing is compiled, the reading and
the decoding are FFCV's own.
"""

import sys
from dataclasses import replace

import numpy as np
from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.pipeline.allocation_query import AllocationQuery


class WholeImages(SimpleRGBImageDecoder):
    """FFCV's simplest decoder, with room for images of any size: their bytes, (largest,), one image after another.

    FFCV itself refuses images of more than one size here, for it hands on one array a batch.
    """

    def declare_state_and_memory(self, previous_state):
        largest = 3 * int((self.metadata["width"].astype(np.int64) * self.metadata["height"]).max())
        kind = np.dtype("<u1")
        return replace(previous_state, jit_mode=True, shape=(largest,), dtype=kind), AllocationQuery((largest,), kind)


def read(path):
    pipelines = {"image": [WholeImages()], "label": [IntDecoder()]}
    loader = Loader(
        path, 4, num_workers=1, os_cache=True, order=OrderOption.SEQUENTIAL, drop_last=False, pipelines=pipelines
    )
    sizes = loader.reader.metadata["f0"][["height", "width"]].tolist()
    counts = iter([3 * height * width for height, width in sizes])
    images, labels = [], []
    for batch, of_batch in loader:
        images += [image[: next(counts)].copy() for image in batch]
        labels.append(of_batch.copy().ravel())
    return {"bytes": np.concatenate(images), "sizes": np.array(sizes), "labels": np.concatenate(labels)}


for beton in sys.argv[1:]:
    np.savez(f"{beton}.npz", **read(beton))
