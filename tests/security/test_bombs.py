"""Inputs that are small and ask for much: memory without bound, or time that grows faster than they do.

What took quadratic time or worse would not end here: these texts are a hundred thousand letters long and more.
"""

import functools
import io
import random
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from data_prep.sources import imagenet, parquet, webdataset
from tests.data_prep.pictures import jpeg
from tests.data_prep.sources.layouts import imagenet_tars
from toolkit.analysis import opening
from toolkit.analysis.numerals import read_numerals, uses_decimal_comma
from toolkit.errors import ToolkitError, UsageError
from toolkit.render import escape
from toolkit.study.ranges import parse_ranges

MB = 1 << 20
LONG = 30_000


@pytest.mark.parametrize("text", ["0-999999999", "0-999999,5000000", "5-1000005"])
def test_a_range_that_fills_the_memory_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="more than 1,000,000 indices"):
        parse_ranges(text, "--seeds")


NAMESPACE = "http://schemas.openxmlformats.org"


def spreadsheet(cells: str) -> bytes:
    """An Excel file with one sheet."""
    packages, office = f"{NAMESPACE}/package/2006", f"{NAMESPACE}/officeDocument/2006/relationships"
    head = f'<{{}} xmlns="{NAMESPACE}/spreadsheetml/2006/main" xmlns:r="{office}">'
    link = f'<Relationships xmlns="{packages}/relationships"><Relationship Id="r" Type="{office}/{{}}" Target="{{}}"/>'
    files = {
        "[Content_Types].xml": f'<Types xmlns="{packages}/content-types"/>',
        "_rels/.rels": link.format("officeDocument", "xl/workbook.xml") + "</Relationships>",
        "xl/_rels/workbook.xml.rels": link.format("worksheet", "worksheets/sheet1.xml") + "</Relationships>",
        "xl/workbook.xml": head.format("workbook")
        + '<sheets><sheet name="s" sheetId="1" r:id="r"/></sheets></workbook>',
        "xl/worksheets/sheet1.xml": head.format("worksheet") + f"<sheetData>{cells}</sheetData></worksheet>",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def row(number: int, column: str) -> str:
    return f'<row r="{number}"><c r="{column}{number}" t="str"><v>1</v></c></row>'


def test_a_spreadsheet_of_two_cells_far_apart_is_refused(tmp_path: Path) -> None:
    """Its reader makes all cells between them: 512 GB for a file of a kilobyte."""
    (tmp_path / "t.xlsx").write_bytes(spreadsheet(row(1, "A") + row(2, "B")))
    assert opening.open_table(tmp_path / "t.xlsx")[0].shape == (1, 2)
    (tmp_path / "t.xlsx").write_bytes(spreadsheet(row(1, "A") + row(1048576, "XFD")))
    with pytest.raises(UsageError, match="takes more than 2048 MiB"):
        opening.open_table(tmp_path / "t.xlsx")


def test_a_spreadsheet_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(opening, "MOST_MEMORY", 16 * MB)
    (tmp_path / "t.xlsx").write_bytes(spreadsheet(f'<row r="1"><c r="A1" t="str"><v>{"a" * (64 * MB)}</v></c></row>'))
    with pytest.raises(UsageError, match="more than 16 MiB"):
        opening.open_table(tmp_path / "t.xlsx")


@pytest.mark.parametrize(
    "table", [{"model": ["a"] * 5_000_000}, {"model": ["a" * 20_000_000], "top1": ["b" * 20_000_000]}]
)
def test_a_parquet_table_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch, table: dict) -> None:
    monkeypatch.setattr(opening, "MOST_MEMORY", 32 * MB)
    pl.DataFrame(table).write_parquet(tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 20_000
    with pytest.raises(UsageError, match="more than 32 MiB"):
        opening.open_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("column", ["image", "label"])
def test_equal_values_in_a_parquet_file_of_images_fill_no_memory(tmp_path: Path, monkeypatch, column: str) -> None:
    """What is equal costs a file nothing, and its own size of memory in each row."""
    monkeypatch.setattr(parquet, "LARGEST_GROUP", 8 * MB)
    long = (
        {"image": random.Random(0).randbytes(MB), "label": b"a"}
        if column == "image"
        else {"image": b"a", "label": b"a" * MB}
    )
    rows = {name: pa.DictionaryArray.from_arrays([0] * 500, [value]) for name, value in long.items()}
    rows["label"] = rows["label"].cast(pa.dictionary(pa.int32(), pa.string()))
    pa.parquet.write_table(pa.table(rows), tmp_path / "train.parquet", store_schema=False)
    assert (tmp_path / "train.parquet").stat().st_size < 1.2 * MB
    with pytest.raises(UsageError, match=f"column {column} unpacks to more than"):
        parquet.find(tmp_path).splits["train"].sample(0).content.read()


def test_a_table_of_synsets_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(imagenet, "LARGEST_META", MB)
    imagenet_tars(tmp_path)
    for kit in tmp_path.glob("*devkit*"):
        kit.unlink()
    packed = zlib.compress(bytes(16 * MB))
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    (tmp_path / "meta.mat").write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    (tmp_path / imagenet.TRUTH).write_text("1\n")
    with pytest.raises(ToolkitError, match="unpacks to more than 1,048,576 bytes"):
        imagenet.find(tmp_path)


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(kind: int, columns: int, *rest: bytes, name: bytes = b"synsets") -> bytes:
    shape = element(5, struct.pack("<ii", 1, columns))
    return element(14, element(6, struct.pack("<II", kind, 0)) + shape + element(1, name) + b"".join(rest))


CELLS_CLASS, STRUCT_CLASS, CHAR_CLASS = 1, 2, 4
BOMBS = {
    "a text of a billion letters": matrix(CHAR_CLASS, 10**9, element(16, b"")),
    "400 million cells": matrix(CELLS_CLASS, 4 * 10**8),
    "400 million rows": matrix(STRUCT_CLASS, 4 * 10**8, element(5, b"\5\0\0\0"), element(1, b"WNID\0")),
    "a depth of 20,000": matrix(
        CELLS_CLASS, 1, functools.reduce(lambda inner, _: matrix(1, 1, inner), range(20_000), b"")
    ),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_table_of_synsets_is_not_believed_in_what_it_says_of_its_size(tmp_path: Path, bomb: bytes) -> None:
    """scipy's reader fills the memory, takes hours, or ends the process."""
    imagenet_tars(tmp_path)
    for kit in tmp_path.glob("*devkit*"):
        kit.unlink()
    (tmp_path / "meta.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM" + bomb)
    (tmp_path / imagenet.TRUTH).write_text("1\n")
    with pytest.raises((ToolkitError, UsageError), match=r"meta\.mat"):
        imagenet.find(tmp_path)


BLANKS = " " * LONG
CELLS = [
    f"1{BLANKS}x", f"1{' 1' * LONG}x", f"1 ±{BLANKS}x", f"1e{'1' * LONG}x", f"{'1' * LONG}x", "(" * LONG,
    f"1({BLANKS}1{BLANKS}%{BLANKS}x", "inf" * LONG, "." * LONG, f"1{',111' * LONG}x", f"{'1,' * LONG}x",
]  # fmt: skip


def test_reading_a_long_cell_takes_no_more_than_its_length() -> None:
    column = pl.Series("a", CELLS)
    assert read_numerals(column, decimal_comma=False).values.is_null().all()
    uses_decimal_comma(column.to_frame(), "t.csv")


def test_a_long_name_in_a_tar_takes_no_more_than_its_length(tmp_path: Path) -> None:
    for split in ("train", "val"):
        with tarfile.open(tmp_path / f"{split}.tar", "w", format=tarfile.PAX_FORMAT) as tar:
            for ending, content in (("jpg", jpeg(1)), ("cls", b"a")):
                info = tarfile.TarInfo(f"a{'.' * LONG}/x.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    found = webdataset.find(tmp_path)
    assert list(found.classes) == ["a"]


PARTS = (".", "a.", "1) ", "](", "<a", "\\", "$", " ", "\x1b[", "1e", "\u202e", "&lt;")
MEDIA = (escape.terminal, escape.figure, escape.csv, escape.markdown, escape.latex, escape.html)


@pytest.mark.parametrize("medium", MEDIA)
def test_escaping_a_long_text_takes_no_more_than_its_length(medium) -> None:
    assert all(len(medium(f"{part * LONG}x")) for part in PARTS)
