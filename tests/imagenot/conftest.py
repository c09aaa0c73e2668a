from collections.abc import Iterator
from pathlib import Path

import pytest

from data_prep.imagenot.__main__ import main
from tests.imagenot.laion import rows, web
from tests.imagenot.small import CANDIDATES, CHOSEN, KINDS, SLOW, all_stages


@pytest.fixture(scope="session")
def site() -> Iterator[tuple[str, list[str]]]:
    with web() as served:
        yield served


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory, site: tuple[str, list[str]]) -> Path:
    """Shards of metadata: captions of four classes, each image under one of the server's kinds of answer."""
    folder = tmp_path_factory.mktemp("it's laion")
    for shard in range(3):
        captions, urls = [], []
        for label, synset in enumerate(CHOSEN):
            for i in range(shard, CANDIDATES, 3):
                captions.append(f"{synset.lemmas[0]}, {synset.definition} no. {i}")
                kind = "slow" if (label, i) == SLOW else KINDS[i % len(KINDS)]
                urls.append(f"{site[0]}/{kind}?seed={label * 1000 + i}")
        rows(captions, URL=urls).write_parquet(folder / f"part-{shard}.parquet", row_group_size=40)
    (folder / "wnids.txt").write_text("\n".join(synset.wnid for synset in CHOSEN))
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """A finished build; its dataset lies beside it. Tests only read it, or copy it."""
    build = tmp_path_factory.mktemp("imagenot") / "build"
    assert main(all_stages(build, source)) == 0
    return build
