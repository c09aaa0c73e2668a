"""Numbers as people write them: missing words, percent signs, decimal commas, errors behind a plus-minus sign."""

import re
from typing import NamedTuple

import polars as pl

from toolkit.errors import UsageError

ABSENT = {
    "", "-", "--", "---", "\N{EN DASH}", "\N{EM DASH}", "\N{MINUS SIGN}", ".", "?", "n/a", "na", "n.a.",
    "n.a", "nan", "<na>", "nil", "null", "none", "missing", "tbd", "unknown", "#n/a", "#na", "#value!",
    "#div/0!", "#ref!", "#null!", "#num!", "#name?", "\N{HORIZONTAL ELLIPSIS}",
}  # fmt: skip
FAILED = {"oom", "fail", "failed", "error", "err", "crash", "crashed", "timeout", "killed", "cuda oom", "out of memory"}
DIVERGED = {"diverged", "diverge", "nan-loss"}
DONE = {"done", "finished", "finish", "complete", "completed", "success", "succeeded", "successful", "ok"}
WAITING = ABSENT | {
    "running", "pending", "queued", "scheduled", "lost", "stopped", "preempted", "cancelled", "canceled", "pruned",
}  # fmt: skip
STATES = (
    dict.fromkeys(DONE, "done") | dict.fromkeys(FAILED | {"out_of_memory", "node_fail"}, "failed")
    | dict.fromkeys(DIVERGED, "diverged") | dict.fromkeys(WAITING, "missing")
)  # fmt: skip
"""What became of a run in the words of W&B, MLflow, Optuna, Slurm and ourselves."""
# What is taken is never given back (*+, ++): else a cell of a thousand blanks would be read in every possible way.
NUMBER = r"[-+\N{MINUS SIGN}]?(?:\d[\d.,'\s]*+|[.,]\d++)(?:[eE][-+]?\d++)?|[-+]?inf(?:inity)?"
CELL = re.compile(rf"(?i)({NUMBER})\s*+(%?)(?:\s*+(±|\+/?-|\\pm|\()\s*+({NUMBER})\s*+%?\s*+\)?)?\s*+(%?)")
FOOTNOTE = re.compile(
    r"(?<=[\d%)])\s*+(?:[\u2020\u2021\u00a7\u00b6*\u00b9\u00b2\u00b3\u2070-\u2079]++|\^\{?[a-z*]\}?)$"
)
LARGEST_ERROR = 50.0
"""Points beyond which a number in brackets is no standard error: a top-5 accuracy, say."""


class Numerals(NamedTuple):
    """One column read: all of the column's length."""

    values: pl.Series
    errors: pl.Series
    """What stood behind a plus-minus sign."""
    states: pl.Series
    """"done", or why there is no value: "missing", "failed", "diverged"."""
    odd: list[int]
    """Rows that hold text which is neither a number nor a word for a missing one."""
    percent: bool
    """Whether a percent sign was met."""
    brackets: list[int]
    """Rows whose number in brackets is taken for a standard error."""
    unsure: list[int]
    """Rows whose number in brackets cannot be one, or may be a gain, a rank or digits: it is not used."""


def read_numerals(column: pl.Series, decimal_comma: bool) -> Numerals:
    """Read ``column``. A cell that cannot be read counts as missing and is listed in ``odd``."""
    if column.dtype.is_numeric():
        known = column.cast(pl.Float64)
        done = known.is_finite().fill_null(False).replace_strict({True: "done", False: "missing"}, default="missing")
        return Numerals(known, pl.Series([None] * len(known), dtype=pl.Float64), done, [], False, [], [])
    cells = [_read_cell(cell or "", decimal_comma) for cell in column.cast(pl.String).to_list()]
    return Numerals(
        values=pl.Series([cell.value for cell in cells], dtype=pl.Float64),
        errors=pl.Series([cell.error for cell in cells], dtype=pl.Float64),
        states=pl.Series([cell.state for cell in cells]),
        odd=[row for row, cell in enumerate(cells) if cell.odd],
        percent=any(cell.percent for cell in cells),
        brackets=[row for row, cell in enumerate(cells) if cell.brackets and cell.error is not None],
        unsure=[row for row, cell in enumerate(cells) if cell.brackets and cell.error is None],
    )


class _Cell(NamedTuple):
    value: float | None
    error: float | None
    state: str
    odd: bool
    percent: bool
    brackets: bool
    """Whether a second number stands in brackets."""


def _read_cell(cell: str, decimal_comma: bool) -> _Cell:
    text = FOOTNOTE.sub("", cell.strip().strip("*").strip())
    found, word = CELL.fullmatch(text), text.lower()
    value = _number(found[1], decimal_comma) if found else None
    if found is None or value is None:
        return _Cell(None, None, _state(word, None), word not in ABSENT | FAILED | DIVERGED, False, False)
    error, percent = _error(found, decimal_comma), bool(found[2] or found[5])
    return _Cell(value, error, _state(word, value), False, percent, found[3] == "(")


def _error(found: re.Match[str], decimal_comma: bool) -> float | None:
    """The standard error behind a value, in brackets only where it can be nothing else."""
    if not found[3]:
        return None
    error = _number(found[4], decimal_comma)
    if found[3] != "(" or error is None:
        return error
    sign = not found[4][0].isdigit() and found[4][0] not in ".,"
    rank = re.search(r"[.,]", found[1]) and not re.search(r"[.,]", found[4])
    return None if sign or rank or error > LARGEST_ERROR else error


def read_states(words: pl.Series) -> tuple[pl.Series, list[str]]:
    """What became of each run, by its word ("done", "failed", "diverged", "missing"); and the words not known."""
    told = [(word or "").strip().lower() for word in words.cast(pl.String).to_list()]
    unknown = [word for word in dict.fromkeys(told) if word not in STATES]
    return pl.Series([STATES.get(word, "missing") for word in told]), unknown


def _state(text: str, value: float | None) -> str:
    if value is not None and abs(value) != float("inf"):
        return "done"
    return "failed" if text in FAILED else "diverged" if text in DIVERGED else "missing"


def _number(text: str, decimal_comma: bool) -> float | None:
    plain = re.sub(r"[\s']", "", text).replace("\N{MINUS SIGN}", "-")
    if decimal_comma:
        plain = plain.replace(".", "").replace(",", ".")
    elif re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?", plain):
        plain = plain.replace(",", "")
    try:
        return float(plain)
    except ValueError:
        return None


def uses_decimal_comma(frame: pl.DataFrame, place: object) -> bool:
    """Whether the cells of ``frame`` write 71,3 for 71.3: some have a comma that cannot group thousands, none a dot.

    ``place``: the file, for a person. Raises `UsageError` where each comma may be of either kind and no dot tells.
    """
    texts = [
        cell for name, kind in frame.schema.items() if kind == pl.String for cell in frame[name].drop_nulls().to_list()
    ]
    numbers = [text.strip() for text in texts if CELL.fullmatch(text.strip())]
    grouped = [re.fullmatch(r"\d{1,3}(\.\d{3}){2,}", text) is not None for text in numbers]  # 11.689.512
    commas = any(re.search(r"\d,(\d{1,2}|\d{4,})(?!\d)|^0,\d", text) for text in numbers)
    dots = [text for text, dotted in zip(numbers, grouped, strict=True) if not dotted and re.search(r"\d\.\d", text)]
    told = commas or dots or any(grouped) or any(text.count(",") > 1 for text in numbers)
    if not told and (unsure := [text for text in numbers if re.fullmatch(r"[-+]?[1-9]\d{0,2},\d{3}", text)]):
        one = unsure[0]
        raise UsageError(
            f"{place}: {one!r} may be {one.replace(',', '.')} or {one.replace(',', '')} (and {len(unsure) - 1} more): "
            "write decimals with a dot, or thousands without a comma"
        )
    return (commas or any(grouped)) and not any("," not in text for text in dots)


def is_numeric(numerals: Numerals) -> bool:
    """Whether a column is one of numbers: at least half of what is not a word for a missing value is a number."""
    read = numerals.values.is_not_null().sum()
    return read > 0 and read >= len(numerals.odd)
