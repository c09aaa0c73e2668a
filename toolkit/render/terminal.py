"""Tables in a terminal, 100 columns wide."""

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from toolkit.render.cells import DIGITS, cells, heading, numeric_columns
from toolkit.render.escape import terminal

WIDTH = 100
UNWRAPPED = 44
"""Text up to this long stands in one line."""


def console() -> Console:
    """A console of `WIDTH` columns on stdout, without colour codes when it is no terminal."""
    return Console(width=WIDTH, highlight=False)


def show(
    out: Console,
    title: str,
    frame: pl.DataFrame,
    columns: tuple[str, ...] = (),
    note: str = "",
    digits: int = DIGITS,
) -> None:
    """Print ``columns`` of ``frame`` (all when empty) as a table, ``note`` below it."""
    headings, rows = cells(frame, columns, digits)
    right = {heading(column) for column in numeric_columns(frame)}
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for i, name in enumerate(headings):
        words = map(len, terminal(name).split())  # a heading may take several lines, and is not cut
        width = max((*words, *(len(terminal(row[i])) for row in rows)), default=0)
        if name in right:
            drawn.add_column(Text(terminal(name)), justify="right", min_width=width)
        else:
            drawn.add_column(Text(terminal(name)), overflow="fold", no_wrap=width <= UNWRAPPED)
    for row in rows:
        drawn.add_row(*(Text(terminal(text)) for text in row))
    out.print(Text(terminal(title), "bold"))
    out.print(drawn, crop=False)  # rather a line too long than a number cut short
    if note:
        out.print(Text(terminal(note), "dim"))
    out.print()
