"""Text of strangers made harmless, one function a medium. Names come from tables and folders that others wrote.

Every function first makes the text `visible`: one line, with control characters spelled out. So nothing disappears,
and no medium can be told to move its cursor, to change its title, or to show letters in another order.
"""

import re
from typing import Any

import markupsafe
import orjson

from toolkit.visible import csv as csv
from toolkit.visible import visible

MARKDOWN = re.compile(
    r"[\\`*_|~$&@]|<(?=[A-Za-z/!?])|\](?=[(\[:])|^[#>+=-]|(?<=^\d)[.)](?=\s|$)|(?<=^\d\d)[.)](?=\s|$)|:(?=//)|\.(?=\w*\.)"
)
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def terminal(text: str) -> str:
    """``text`` for a terminal, free of escape sequences. Print it as ``rich.text.Text``, which reads no markup."""
    return visible(text)


def figure(text: str) -> str:
    """``text`` for matplotlib, where a pair of dollar signs would start mathematics."""
    return visible(text).replace("$", r"\$")


def markdown(text: str) -> str:
    """``text`` for one line of Markdown (CommonMark, GitHub's tables): neither HTML, links, emphasis nor columns."""
    return MARKDOWN.sub(lambda found: "\\" + found[0], visible(text))


def latex(text: str) -> str:
    r"""``text`` for LaTeX; a bracket or star at its start is guarded, for after ``\\`` it would be an option."""
    shown = "".join(LATEX.get(letter, letter) for letter in visible(text))
    return f"{{{shown[0]}}}{shown[1:]}" if shown.startswith(("[", "*")) else shown


def html(text: str) -> markupsafe.Markup:
    """``text`` for an HTML element or a quoted attribute."""
    return markupsafe.escape(visible(text))


def script(document: Any) -> markupsafe.Markup:
    """``document`` as JSON for an HTML ``<script>`` element: no text in it ends the element or begins a comment."""
    text = orjson.dumps(_visible_texts(document)).decode()
    return markupsafe.Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _visible_texts(document: Any) -> Any:
    if isinstance(document, dict):
        return {visible(str(key)): _visible_texts(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [_visible_texts(value) for value in document]
    return visible(document) if isinstance(document, str) else document
