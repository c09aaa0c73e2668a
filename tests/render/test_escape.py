"""No name makes a medium do anything: laws over hostile strings, each held against the medium's own reader."""

import csv as reader
import io
import unicodedata
from html.parser import HTMLParser

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib import cbook
from rich.console import Console
from rich.text import Text

from toolkit import report
from toolkit.analysis.table import Table
from toolkit.render import escape
from toolkit.render.export import latex as latex_table
from toolkit.render.export import markdown as markdown_table
from toolkit.render.export import spreadsheet

PARTS = (
    "\x1b]0;owned\x07", "\x1b[2J", "\x9b31m", "\u202e", "\ud800", "\x00", "\r\n", "[bold red]", "[/]", "$x^2$", "$",
    "\\", "=cmd|'/c calc'!A1", "+1+1", "-2+3", "@SUM(A1)", "<script>alert(1)</script>", "</script>", "<!--", "&lt;",
    "[a](javascript:x)", "![a](//b)", "`", "|", "**", "_a_", "~~", "#", "1. ", "- ", "\\input{x}", "%", "{", "}", "^^",
    "[2cm]", "*", '"', "'", ",", "https://a.example", "a@b.example", "www.a.example", "\u2028", "\ufeff", "net",
)  # fmt: skip
hostile = st.lists(st.sampled_from(PARTS) | st.text(max_size=4), max_size=6).map("".join)


@given(hostile)
def test_visible_text_is_one_line_without_controls(text):
    shown = escape.visible(text)
    assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in shown)
    assert escape.visible(shown) == shown


@given(hostile)
def test_a_terminal_shows_the_letters_and_nothing_else(text):
    out = io.StringIO()
    shown = escape.terminal(text)
    Console(file=out, width=10_000, force_terminal=True, color_system="truecolor").print(Text(shown))
    assert out.getvalue().rstrip("\n").rstrip() == shown.rstrip()


@given(hostile)
def test_a_figure_reads_no_mathematics(text):
    drawn = escape.figure(text)
    assert not cbook.is_math_text(drawn)
    assert drawn.replace(r"\$", "$") == escape.visible(text)


@given(hostile)
@example("=HYPERLINK(1)")
@example("\t=1+1")
def test_no_cell_of_a_csv_file_is_a_formula(text):
    frame = pl.DataFrame({"net": [text.encode("utf-8", "replace").decode()], f"d{escape.visible(text)}": [-1.5]})
    rows = list(reader.reader(io.StringIO(spreadsheet(frame).write_csv())))
    assert len(rows) == 2 and all(len(row) == 2 for row in rows)
    assert not rows[1][0].startswith(("=", "@", "\t", "\r")) and rows[1][1] == "-1.5"
    assert not rows[1][0].startswith(("+", "-")) or float(rows[1][0]) is not None


@pytest.mark.parametrize("name", ["=1+1", "@x", "+A1"])
def test_a_columns_name_is_no_formula_either(name):
    assert spreadsheet(pl.DataFrame({name: [1]})).columns == [f"'{name}"]


def _leaves(tokens):
    for token in tokens:
        yield from _leaves(token.children) if token.children else [token]


@given(hostile)
def test_markdown_is_the_text_and_no_markup(text):
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(f"a {escape.markdown(text)}")
    leaves = list(_leaves(tokens))
    assert {token.type for token in leaves} <= {"paragraph_open", "paragraph_close", "text", "text_special"}
    assert "".join(token.content for token in leaves).rstrip() == f"a {escape.visible(text)}".rstrip()


@given(hostile)
def test_a_line_of_markdown_stays_a_paragraph(text):
    kinds = [token.type for token in MarkdownIt("commonmark").parse(escape.markdown(text))]
    assert kinds in ([], ["paragraph_open", "inline", "paragraph_close"])


@given(hostile, hostile)
def test_markdown_and_latex_tables_keep_their_columns(text, name):
    text, name = (s.encode("utf-8", "replace").decode() for s in (text, name))
    item = Table("t", "T", pl.DataFrame({f"a{name}": [text], "b": [0.5]}))
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(markdown_table(item))
    assert sum(token.type == "td_open" for token in tokens) == 2
    row = latex_table(item).splitlines()[-4]
    assert row.replace(r"\&", "").count("&") == 1 and row.endswith(r" & 0.500 \\") and not row.startswith("[")


@given(hostile)
def test_latex_has_no_command_of_the_texts_own(text):
    left = escape.latex(text)
    for harmless in (*escape.LATEX.values(), "{[}", "{*}"):
        left = left.replace(harmless, "")
    assert not set(left) & set("\\&%$#_{}~^")


class Heard(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, attrs))

    def handle_data(self, data):
        self.text += data


@given(hostile)
def test_html_is_the_text_in_an_element_and_in_an_attribute(text):
    heard = Heard()
    heard.feed(f'<p title="{escape.html(text)}">{escape.html(text)}</p>')
    heard.close()
    assert heard.tags == [("p", [("title", escape.visible(text))])]
    assert heard.text == escape.visible(text)


@pytest.mark.slow
def test_a_report_of_hostile_names_is_drawn_and_read(tmp_path):
    """Every medium at once: figures, page, tables and the table of runs, with names that mean something in each."""
    parts = ("$x^{", "=cmd|'/c calc'!A1", "<script>alert(1)</script>", "\x1b[2J", "net")
    rows = [[f"{part}{i}", i, (i * 2) % 5, (3 * i) % 5 + 1] for i, part in enumerate(parts)]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        reader.writer(file).writerows([["model", "$a_{", "<b>", "@c"], *rows])
    call = [str(tmp_path / "t.csv"), "--error", "--unit", "none", "--out", str(tmp_path), "--resamples", "100"]
    assert report.main(call) == 0
    page = (tmp_path / "index.html").read_text()
    assert "<script>alert(1)" not in page and "\x1b" not in page
    assert all(not cell.startswith(("=", "@")) for row in reader.reader((tmp_path / "runs.csv").open()) for cell in row)
