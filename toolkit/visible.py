"""Text of strangers, with every character to be seen: names come from folders, tables and logs that others wrote.

A terminal obeys control characters, even in an error message: they move its cursor, change its title, answer for the
user. Characters that change the direction of what is written show a name as another one.
"""

import re

BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Characters that change the direction of what is written (Unicode Standard Annex 9)."""
HIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff{BIDI}\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
LAYOUT = "\n\t"
FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"
"""First letters, also wide ones, from which a spreadsheet takes a cell for a formula (OWASP, CSV Injection)."""
NUMBER = re.compile(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?", re.IGNORECASE)


def visible(text: str) -> str:
    r"""``text`` on one line: runs of white space become one blank, control characters their number (``\x1b``)."""
    return HIDDEN.sub(_spelled, " ".join(text.split()))


def visible_lines(text: str) -> str:
    r"""``text`` with its lines and blanks as they are, and all other control characters by their number."""
    return HIDDEN.sub(lambda found: found[0] if found[0] in LAYOUT else _spelled(found), text)


def visible_json(text: str) -> str:
    r"""A JSON document with the same meaning, whose texts hold no such character but as ``\u009b``."""
    return HIDDEN.sub(lambda found: found[0] if found[0] in LAYOUT else f"\\u{ord(found[0]):04x}", text)


def csv(text: str) -> str:
    """``text`` for a cell of a CSV file: an apostrophe goes before what a spreadsheet would run as a formula."""
    shown = visible(text)
    return f"'{shown}" if shown.startswith(tuple(FORMULA)) and not NUMBER.fullmatch(shown) else shown


def _spelled(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
