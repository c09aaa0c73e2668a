"""A report's files: the same bytes twice, tables that say the same in every format, a page that works in a browser."""

import hashlib
import re
import shutil
import subprocess

import polars as pl
import pytest

from tests.conftest import real_part
from toolkit import report
from toolkit.analysis.table import table
from toolkit.errors import ToolkitError
from toolkit.render import escape
from toolkit.render.export import latex, markdown

CSV = "architecture,flops,depth,imagenet,imagenet-10,cifar\n" + "\n".join(
    f'"<b>n{i}</b> & ""it""",{i + 1}e8,{(i * 5) % 7},{20 + i},{30 + (i * 7) % 16},{40 + (i * 5) % 16}'
    for i in range(16)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report on a table whose names are full of markup."""
    place = tmp_path_factory.mktemp("odd 'place'")
    (place / "study.csv").write_text(CSV)
    assert report.main([str(place / "study.csv"), "--out", str(place / "out"), "--resamples", "100", "--error"]) == 0
    return place


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_same_input_and_seed_same_bytes(folder, capsys):
    report.main([str(folder / "study.csv"), "--out", str(folder / "again"), "--resamples", "100", "--error"])
    assert digests(folder / "out") == digests(folder / "again")
    assert str(folder / "again" / "index.html") in capsys.readouterr().out


def test_every_table_in_every_format(folder):
    names = {path.stem for path in (folder / "out/tables").glob("*.csv")}
    assert {"pairs", "gains", "best-subset", "partial", "tertiles", "profiles", "distribution"} <= names
    for name in names:
        csv, parquet = (folder / f"out/tables/{name}.{kind}" for kind in ("csv", "parquet"))
        assert pl.read_csv(csv, infer_schema_length=None).shape == pl.read_parquet(parquet).shape
        rows = (folder / f"out/tables/{name}.md").read_text().count("\n| ") - 2  # the heading and the rule
        assert rows == len(pl.read_parquet(parquet))


def test_latex_is_balanced_and_escaped(folder):
    for path in (folder / "out/tables").glob("*.tex"):
        text = path.read_text()
        begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
        assert begun == ended[::-1]
        rows = [line for line in text.splitlines() if line.endswith(r"\\") and "caption" not in line]
        assert len({row.count("&") - row.count(r"\&") for row in rows}) == 1
    assert escape.latex("a_b & 5% <x>\n#1") == r"a\_b \& 5\% \textless{}x\textgreater{} \#1"


def test_latex_compiles(folder, tmp_path):
    compiler = shutil.which("pdflatex")
    if not compiler:
        real_part("pdflatex")
    inputs = "\n".join(rf"\input{{{name}}}" for name in ("pairs", "gains", "ranking"))
    body = rf"\documentclass{{article}}\usepackage{{booktabs,longtable}}\begin{{document}}{inputs}\end{{document}}"
    (tmp_path / "paper.tex").write_text(body)
    for name in ("pairs", "gains", "ranking"):
        shutil.copy(folder / f"out/tables/{name}.tex", tmp_path)
    subprocess.run([compiler, "-halt-on-error", "paper.tex"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "paper.pdf").stat().st_size > 1000


def test_intervals_share_a_cell_with_their_estimate():
    item = table("t", "T", [{"x": 0.5, "x_low": 0.25, "x_high": 0.75, "p": 1e-9, "n": 7, "none": None}])
    assert "| 0.500 [0.250, 0.750] | <0.001 | 7 |  |" in markdown(item)
    assert r"0.500 [0.250, 0.750] & \textless{}0.001 & 7 &  \\" in latex(item)


def test_a_folder_that_cannot_be_made(folder):
    with pytest.raises(ToolkitError, match="name another --out"):
        report.main(
            [str(folder / "study.csv"), "--out", str(folder / "study.csv" / "out"), "--resamples", "100", "--error"]
        )
