"""Tables as files: CSV and Parquet for machines, Markdown and LaTeX for papers."""

from pathlib import Path

import polars as pl

from toolkit.analysis.table import Table
from toolkit.files import atomic, write_atomic
from toolkit.render.cells import cells, heading, numeric_columns

LONG = 60
"""Rows up to which a table is set in LaTeX in one piece; longer ones break over pages."""
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def write_tables(tables: list[Table], folder: Path) -> None:
    """Write every table into ``folder`` as CSV, Parquet, Markdown and LaTeX."""
    for item in tables:
        with atomic(folder / f"{item.name}.csv") as temporary:
            item.frame.write_csv(temporary)
        with atomic(folder / f"{item.name}.parquet") as temporary:
            item.frame.write_parquet(temporary)
        write_atomic(folder / f"{item.name}.md", markdown(item).encode())
        write_atomic(folder / f"{item.name}.tex", latex(item).encode())


def markdown(item: Table) -> str:
    """A table in Markdown, its note below."""
    headings, rows = cells(item.frame)
    rule = ["---:" if right else "---" for right in _right(item.frame, headings)]
    escaped = [[text.replace("|", r"\|").replace("\n", " ") for text in row] for row in (headings, rule, *rows)]
    lines = [f"**{item.title}**", "", *(f"| {' | '.join(row)} |" for row in escaped), "", item.note]
    return "\n".join(lines).rstrip() + "\n"


def latex(item: Table) -> str:
    r"""A table in LaTeX: ``\input`` it; needs the packages booktabs and, over `LONG` rows, longtable."""
    headings, rows = cells(item.frame)
    columns = "".join("r" if right else "l" for right in _right(item.frame, headings))
    head = " & ".join(map(escape, headings)) + r" \\"
    body = [" & ".join(map(escape, row)) + r" \\" for row in rows]
    caption = rf"\caption{{{escape(item.title)}. {escape(item.note)}}}\label{{tab:{item.name}}}"
    if len(rows) > LONG:
        lines = [rf"\begin{{longtable}}{{{columns}}}", caption + r" \\", r"\toprule", head, r"\midrule", r"\endhead"]
        lines += [*body, r"\bottomrule", r"\end{longtable}"]
    else:
        lines = [r"\begin{table}", r"\centering", caption, rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head]
        lines += [r"\midrule", *body, r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(["% \\usepackage{booktabs,longtable}", *lines]) + "\n"


def escape(text: str) -> str:
    """``text`` with LaTeX's special characters made harmless; line breaks become spaces."""
    return "".join(SPECIAL.get(letter, letter) for letter in " ".join(text.split()))


def _right(frame: pl.DataFrame, headings: list[str]) -> list[bool]:
    """Which columns are set flush right."""
    right = {heading(column) for column in numeric_columns(frame)}
    return [name in right for name in headings]
