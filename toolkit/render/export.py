"""Tables as files: CSV and Parquet for machines, Markdown and LaTeX for papers."""

from pathlib import Path

import polars as pl

from toolkit.analysis.table import Table
from toolkit.files import atomic, write_atomic
from toolkit.render import escape
from toolkit.render.cells import cells, heading, numeric_columns

PRINTED = 2_000
"""Rows up to which a table is also written as Markdown and LaTeX: nobody prints more."""
LONG = 60
"""Rows up to which a table is set in LaTeX in one piece; longer ones break over pages."""


def write_tables(tables: list[Table], folder: Path) -> None:
    """Write every table into ``folder`` as CSV and Parquet and, up to `PRINTED` rows, as Markdown and LaTeX."""
    for item in tables:
        with atomic(folder / f"{item.name}.csv") as temporary:
            spreadsheet(item.frame).write_csv(temporary)
        with atomic(folder / f"{item.name}.parquet") as temporary:
            item.frame.write_parquet(temporary)
        if len(item.frame) <= PRINTED:
            write_atomic(folder / f"{item.name}.md", markdown(item).encode())
            write_atomic(folder / f"{item.name}.tex", latex(item).encode())


def spreadsheet(frame: pl.DataFrame) -> pl.DataFrame:
    """``frame`` as it goes into a CSV file: no text and no column's name is a formula (`escape.csv`)."""
    text = pl.col(pl.String).map_elements(escape.csv, pl.String)
    return frame.with_columns(text).rename({name: escape.csv(name) for name in frame.columns})


def markdown(item: Table) -> str:
    """A table in Markdown, its note below."""
    headings, rows = cells(item.frame)
    rule = ["---:" if right else "---" for right in _right(item.frame, headings)]
    head, *body = (list(map(escape.markdown, row)) for row in (headings, *rows))
    table = (f"| {' | '.join(row)} |" for row in (head, rule, *body))
    lines = [f"**{escape.markdown(item.title)}**", "", *table, "", escape.markdown(item.note)]
    return "\n".join(lines).rstrip() + "\n"


def latex(item: Table) -> str:
    r"""A table in LaTeX: ``\input`` it; needs the packages booktabs and, over `LONG` rows, longtable."""
    headings, rows = cells(item.frame)
    columns = "".join("r" if right else "l" for right in _right(item.frame, headings))
    head = " & ".join(map(escape.latex, headings)) + r" \\"
    body = [" & ".join(map(escape.latex, row)) + r" \\" for row in rows]
    caption = rf"\caption{{{escape.latex(item.title)}. {escape.latex(item.note)}}}\label{{tab:{item.name}}}"
    if len(rows) > LONG:
        lines = [rf"\begin{{longtable}}{{{columns}}}", caption + r" \\", r"\toprule", head, r"\midrule", r"\endhead"]
        lines += [*body, r"\bottomrule", r"\end{longtable}"]
    else:
        lines = [r"\begin{table}", r"\centering", caption, rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head]
        lines += [r"\midrule", *body, r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(["% \\usepackage{booktabs,longtable}", *lines]) + "\n"


def _right(frame: pl.DataFrame, headings: list[str]) -> list[bool]:
    """Which columns are set flush right."""
    right = {heading(column) for column in numeric_columns(frame)}
    return [name in right for name in headings]
