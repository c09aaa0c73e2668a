"""Every file format that is read, with contents that nobody meant: one line each, and never a wait."""

import json
import os
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import UnidentifiedImageError

from data_prep.imagenot.blocklist import Blocklist
from data_prep.imagenot.build import Build
from data_prep.imagenot.options import Options, read_options
from data_prep.imagenot.stages.classes import read_wnids
from data_prep.sources.source import rows_of
from data_prep.storage.tar_entries import content_of, members
from toolkit.analysis.opening import open_table
from toolkit.anynet import load_population
from toolkit.anynet.arguments import parse_arguments
from toolkit.anynet.frozen import Freezer
from toolkit.cluster.profile import load_profile
from toolkit.errors import ToolkitError, UsageError
from toolkit.imagefile.digests import as_recorded
from toolkit.imagefile.format import CONTENT
from toolkit.imagefile.images import opened
from toolkit.imagefile.reader import Beton
from toolkit.launching.efficiency import Efficiency
from toolkit.launching.memory import LaunchMemory
from toolkit.planning.halving import HalvingRule, Rung
from toolkit.planning.request import WaveRequest
from toolkit.planning.stopping import StoppingRule
from toolkit.study import Study
from toolkit.study.dataset import Manifest
from toolkit.study.outcomes import outcomes
from toolkit.study.progress import Progress
from toolkit.study.recipe import load_recipe
from toolkit.study.result import Result
from toolkit.study.scan import scan
from toolkit.study.submission import Submission
from toolkit.training.provenance import revision_of

WRITTEN = Path(__file__).parents[1] / "fixtures" / "v0_1" / "written.tar.xz"
READERS: dict[str, Callable[[Path], object]] = {
    "result.json": Result.read,
    "manifest.json": Manifest.read,
    "progress.json": Progress.read,
    "submission.json": Submission.read,
    "recipe.toml": lambda path: load_recipe(str(path), "toy"),
    "profile.toml": lambda path: load_profile(str(path)),
    "table.csv": open_table,
    "table.json": open_table,
    "image.beton": lambda path: Beton.open(path, "layout"),
    "image.digests": lambda path: as_recorded(path.with_suffix(".beton"), np.zeros(3, CONTENT)),
    "launch.json": LaunchMemory.read,
    "build.json": read_options,
    "shard.tar": lambda path: list(members(path)),
    "archive.tar.gz": lambda path: content_of(path, "x"),
    "population.json": lambda path: load_population(str(path)),
    "0000-0.jsonl": lambda path: tasks_of(path),
    "wnids.txt": lambda path: read_wnids(str(path)),
    "blocklist.txt": lambda path: Blocklist.read([path]).phashes,
    "until.json": StoppingRule.read,
    "halving.json": HalvingRule.read,
    "1.json": Rung.read,
    "wave.json": WaveRequest.read,
    "nets.toml": lambda path: Freezer().population(str(path)),
    "counts.json": lambda path: Build(path.parents[1], Options()).counts(path.parent.name, path.stem),
    "table.tsv": open_table,
    "table.xlsx": open_table,
    "table.parquet": open_table,
    "answers.csv": lambda path: rows_of(path, ("image_id", "dx")),
}
FORGIVING: dict[str, Callable[[Path], object]] = {
    ".git/HEAD": lambda path: revision_of(path.parents[1]),
    "outcomes.json": lambda path: outcomes(path.parent),
    "results/0123456789abcdef.json": lambda path: (scan(Study(path.parents[1])), outcomes(path.parents[1])),
    "results/0123456789abcde0.json": lambda path: Efficiency.of(Study(path.parents[1])),
    "progress/0123456789abcdef.json": lambda path: Study(path.parents[1]).progress(path.stem),
}
"""Readers that go on without the file, or tell of it beside the rest."""
MAGIC = (b"", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0", b"\xff\xfe")
"""First bytes by which a reader takes a file for another format."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
TEXT = (
    st.tuples(st.sampled_from(MAGIC), st.binary()).map(b"".join)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.text().map(lambda text: text.encode())
)
DEEP = b"[" * 200_000
"""Deeper than any recursive parser goes."""
LONG = b"9" * 5_000
"""A number of more digits than Python makes a whole number of."""


def tasks_of(path: Path) -> object:
    room = path.parent / "study" / "tasks"
    room.mkdir(parents=True, exist_ok=True)
    (room / path.name).unlink(missing_ok=True)
    (room / path.name).symlink_to(path)
    return Study.open(room.parent).tasks()


def reads_or_says(read: Callable[[Path], object], path: Path) -> None:
    try:
        read(path)
    except ToolkitError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=TEXT)
def test_any_content_is_read_or_refused_in_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    reads_or_says(READERS[name], tmp_path / name)


@pytest.mark.parametrize("magic", [b"PAR1", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"])
def test_a_damaged_file_of_a_format_that_is_read_apart_is_refused_in_one_line(magic: bytes, tmp_path: Path) -> None:
    (tmp_path / "table").write_bytes(magic + bytes(range(256)) + magic)
    with pytest.raises(ToolkitError, match=r"table cannot be read as a table: .+") as refused:
        open_table(tmp_path / "table")
    assert "\n" not in str(refused.value) and "Traceback" not in str(refused.value)


def test_a_postscript_file_reaches_no_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would start Ghostscript, whatever the file's name says."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/was-called\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(UnidentifiedImageError), opened(content) as image:
        image.load()
    assert not (tmp_path / "was-called").exists()


def test_a_hash_that_is_none_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "blocklist.txt").write_text("# hashes\nphash:00ff\nphash:everything\n")
    with pytest.raises(UsageError, match=r"blocklist\.txt, line 3"):
        Blocklist.read([tmp_path / "blocklist.txt"])


@pytest.mark.parametrize("name", FORGIVING)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=TEXT | st.just(DEEP))
def test_any_content_does_not_stop_who_can_go_on(name: str, content: bytes, tmp_path: Path) -> None:
    for folder in ("results", ".git", "progress"):
        (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    FORGIVING[name](tmp_path / name)


@pytest.mark.parametrize("name", READERS)
def test_depth_beyond_the_stack_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    for start in (b"", b"x = ", b'{"x": '):
        for rest in (DEEP, LONG):
            (tmp_path / name).write_bytes(start + rest)
            reads_or_says(READERS[name], tmp_path / name)


@pytest.mark.parametrize("value", [DEEP, LONG])
def test_values_on_the_command_line_are_no_other_parsers(value: bytes) -> None:
    for parse in (lambda text: load_recipe("smoke", "toy", [text]), lambda text: parse_arguments(f"timm/net?{text}")):
        with suppress(UsageError):
            parse(f"epochs={value.decode()}")


@pytest.mark.parametrize("name", [*READERS, "table.csv.gz"])
def test_a_folder_and_a_file_that_is_not_there_are_one_line(name: str, tmp_path: Path) -> None:
    read = READERS.get(name, open_table)
    with pytest.raises(ToolkitError, match=name):
        read(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(ToolkitError, match=name):
        read(tmp_path / name)


def beton() -> bytes:
    with tarfile.open(WRITTEN) as archive:
        file = archive.extractfile(next(name for name in archive.getnames() if name.endswith("val.beton")))
        assert file
        return file.read()


BETON = beton()


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.lists(st.integers(0, len(BETON) - 1), min_size=1, max_size=8), to=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_beton_opens_or_is_refused_in_one_line(at: list[int], to: int, cut: bool, tmp_path: Path) -> None:
    content = bytearray(BETON)
    for place in at:
        content[place] = to
    (tmp_path / "x.beton").write_bytes(content[: at[0]] if cut else content)

    def read(path: Path) -> None:
        with Beton.open(path, "layout") as beton:
            for number in range(min(4, len(beton.labels))):
                beton.image(number)

    reads_or_says(read, tmp_path / "x.beton")


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    from toolkit.analysis import opening

    monkeypatch.setattr(opening, "LARGEST", 1 << 20)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * (1 << 20)))
    with pytest.raises(ToolkitError, match="more than 1 MiB"):
        open_table(tmp_path / "t.csv.gz")
