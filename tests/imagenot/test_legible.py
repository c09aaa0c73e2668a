"""Images in which the name of their class is written: a real reader, and one line where it is not installed."""

import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from data_prep.imagenot.build import Build, write_table
from data_prep.imagenot.legible import is_legible
from data_prep.imagenot.options import Options, changed
from data_prep.imagenot.stages import clean, download
from data_prep.imagenot.stages.classes import Class, ClassList
from toolkit.errors import ToolkitError

PIANO = Class(wnid="n03452741", lemmas=("grand piano", "grand"), definition="a piano with the strings set horizontally")


def picture(text: str) -> bytes:
    ground = np.random.default_rng(len(text)).integers(80, 200, (9, 8, 3), np.uint8)
    image = Image.fromarray(ground).resize((256, 200))
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 22)
    ImageDraw.Draw(image).text((8, 80), text, (255, 255, 255), font, stroke_width=1, stroke_fill=(0, 0, 0))
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


def fetched(folder: Path, legible: str, texts: list[str]) -> Build:
    """A build that has downloaded one shard of pictures of a piano."""
    build = Build(folder, Options())
    build = build.save(changed(build.options, "clean", {"legible": legible}))
    (folder / "classes").mkdir()
    ClassList(classes=(PIANO,)).write(folder / "classes" / "classes.json")
    shard = folder / "download" / "00-00000"
    shard.mkdir(parents=True)
    with tarfile.open(shard / "00000.tar", "w") as tar:
        for key, text in enumerate(texts):
            content = picture(text)
            entry = tarfile.TarInfo(f"{key:05d}.jpg")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    keys = [f"{key:05d}" for key in range(len(texts))]
    write_table(shard / download.TABLE, pl.DataFrame({"key": keys, "class": [PIANO.wnid] * len(texts)}))
    return build


def reasons(build: Build) -> list[str | None]:
    clean.run(build, "00-00000")
    return pl.read_parquet(build.room("clean") / "00-00000.parquet").sort("key")["reason"].to_list()


def test_images_that_name_their_class_are_left_out_if_asked(tmp_path: Path) -> None:
    pytest.importorskip("rapidocr")
    texts = ["GRAND-PIANO, used", "grand pianos", ""]
    assert reasons(fetched(tmp_path / "drop", "drop", texts)) == ["legible", None, None]
    assert reasons(fetched(tmp_path / "keep", "keep", texts)) == [None, None, None]


def test_a_reader_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from data_prep.imagenot import legible

    legible._reader.cache_clear()
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(
        ToolkitError, match=r"legible=drop .*pip install 'imagenot-toolkit\[ocr\]', or --set legible=keep"
    ):
        is_legible("grand piano", Image.new("RGB", (64, 64)))
