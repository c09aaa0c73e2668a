"""Whether an image shows its class's name in writing, as LAIONet asks: such an image can be labelled by reading it."""

import string
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from PIL.Image import Image

SPACES = str.maketrans(dict.fromkeys(string.punctuation, " "))
SIDE = 384
"""Images are read at this shorter side, pixels (our choice): of an image of 256, letters 14 high are still read."""


def is_legible(name: str, image: "Image") -> bool:
    """Whether the words of ``name`` stand in the image, whatever their case, with ASCII punctuation as spaces.

    Raises `ToolkitError` when the reader is not installed.
    """
    return f" {_plain(name)} " in f" {_plain(read(image))} "


def _plain(text: str) -> str:
    return text.lower().translate(SPACES)


def read(image: "Image") -> str:
    """All that is written in the image, its lines from the top joined by spaces."""
    found = _reader()(np.asarray(image.convert("RGB"))[:, :, ::-1])
    return " ".join(found.txts or ())


@lru_cache(maxsize=1)
def _reader() -> Any:
    """RapidOCR with the models that its package holds: nothing is fetched."""
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise ToolkitError(
            f"legible=drop reads images ({error}): pip install 'imagenot-toolkit[ocr]', or --set legible=keep"
        ) from error
    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    return RapidOCR(params={"Global.log_level": "error", "Det.limit_side_len": SIDE, **threads})
