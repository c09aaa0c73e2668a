"""One's own nets by name: source files and populations, each frozen under a hash of its text.

A user writes ``./mynets.py:Net?width=64`` or names a population's file. What a task is declared with is
``mynets@9f86d081884c/Net?width=64`` and ``wide@60303ae22b99/17``: twelve hex digits of the SHA-256 of the text stand in
the name, so another text is another net, and the text is kept in the study's folder ``nets/`` under the same words.
"""

import ast
import hashlib
import json
import logging
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.anynet.arguments import parse_arguments, spell_arguments
from toolkit.anynet.config import AnyNetConfig
from toolkit.anynet.population import load_population
from toolkit.errors import UsageError
from toolkit.files import of_another
from toolkit.names import unknown
from toolkit.texts import read_text

log = logging.getLogger(__name__)
Texts = Mapping[str, str]
"""Kept texts by file name: ``mynets@9f86d081884c.py``, ``wide@60303ae22b99.json``."""
DIGITS = 12
KEYS = ("title", "seed", "nets", "models", "variants")
SOURCE = re.compile(r"(?P<path>.+\.py)(?::(?P<member>\w+))?", re.DOTALL)
WORD = re.compile(r"[\w.-]+")
POPULATION_FILES = (".toml", ".json")


def is_population_file(word: str) -> bool:
    """Whether a word names a file of a population, not a shipped one."""
    return Path(word).suffix in POPULATION_FILES


@dataclass
class Freezer:
    """Turns what a user writes into names of architectures, and collects the texts that they stand for."""

    texts: dict[str, str] = field(default_factory=dict)

    def model(self, word: str, folder: Path = Path()) -> str:
        """The architecture that ``word`` names; a source file is looked for in ``folder``.

        Raises `UsageError` when there is no such file, callable or library's model, all without importing any.
        """
        base, arguments = parse_arguments(word)
        if found := SOURCE.fullmatch(base):
            path = folder / Path(found["path"]).expanduser()
            base = f"{self._source(path, found['member'])}/{found['member']}"
        return spell_arguments(base, arguments)

    def population(self, word: str) -> list[str]:
        """The architectures of a shipped population or of a file: its nets, then its models, then its variants.

        The file is TOML or JSON with any of ``nets`` (lists of depths, widths, bottlenecks, group widths), ``models``
        (names as on the command line) and ``variants`` (tables ``[variants.NAME]`` with ``model`` and arguments).
        Raises `UsageError` for a file that is not of this form.
        """
        if not is_population_file(word):
            return load_population(word).architectures
        path = Path(word).expanduser()
        document = _read_population(path)
        nets = [_net(path, i, stages) for i, stages in enumerate(document.get("nets", []))]
        variants = {name: self._variant(path, name, table) for name, table in document.get("variants", {}).items()}
        models = [self.model(model, path.parent) for model in document.get("models", [])]
        own = self._keep_population(path, nets, variants) if nets or variants else []
        return [*own[: len(nets)], *models, *own[len(nets) :]]

    def _variant(self, path: Path, name: str, table: Any) -> str:
        if not WORD.fullmatch(name) or name.isdigit():
            raise UsageError(f"{path}: variant {name!r}: name it with letters, digits, and . _ -")
        if not (isinstance(table, dict) and isinstance(table.get("model"), str)):
            raise UsageError(f'{path}: variant {name}: give model = "NAME" and its arguments')
        base, arguments = parse_arguments(self.model(table["model"], path.parent))
        return spell_arguments(base, arguments | {key: value for key, value in table.items() if key != "model"})

    def _keep_population(self, path: Path, nets: list[list[list[int]]], variants: dict[str, str]) -> list[str]:
        text = json.dumps({"nets": nets, "variants": variants}, sort_keys=True, separators=(",", ":"))
        group = self._keep(path.stem, text, ".json")
        return [f"{group}/{member}" for member in (*range(len(nets)), *variants)]

    def _source(self, path: Path, member: str | None) -> str:
        text = read_text(path)
        _check_source(path, text, member)
        if whose := of_another(path):
            log.info("note: %s %s: it is run as you, as it is now", path, whose)
        return self._keep(path.stem, text, ".py")

    def _keep(self, stem: str, text: str, suffix: str) -> str:
        if not WORD.fullmatch(stem):
            raise UsageError(f"{stem + suffix}: rename the file, with letters, digits, and . _ -: nets are named by it")
        group = f"{stem}@{digest(text)}"
        self.texts[group + suffix] = text
        return group


def digest(text: str) -> str:
    """The first `DIGITS` hex digits of the SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def kept_text(texts: Texts, group: str, suffix: str) -> str | None:
    """The text of a group such as ``mynets@9f86d081884c``; None when there is none.

    Raises `UsageError` when it is not the text that the group was named after.
    """
    text = texts.get(group + suffix)
    if text is not None and digest(text) != group.rpartition("@")[2]:
        raise UsageError(f"nets/{group}{suffix} has been changed since it was kept: restore it")
    return text


@dataclass(frozen=True)
class FrozenPopulation:
    """What a kept population's text holds."""

    nets: tuple[AnyNetConfig, ...]
    variants: Mapping[str, str]
    """Architectures by the variants' names."""

    @classmethod
    def of(cls, text: str) -> "FrozenPopulation":
        """Read what `Freezer.population` kept."""
        document = json.loads(text)
        return cls(tuple(AnyNetConfig(*map(tuple, net)) for net in document["nets"]), document["variants"])


def _read_population(path: Path) -> dict[str, Any]:
    text = read_text(path)
    try:
        document = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"population {path} is no {path.suffix[1:].upper()}: {error}") from error
    kinds = {"nets": list, "models": list, "variants": dict}
    if not isinstance(document, dict):
        raise UsageError(f"population {path}: write a table with {', '.join(kinds)}")
    for key, value in document.items():
        if key not in KEYS:
            raise unknown(f"key of population {path}", key, KEYS)
        if not isinstance(value, kinds.get(key, object)):
            raise UsageError(f"population {path}: {key} must be a {'table' if key == 'variants' else 'list'}")
    if not any(document.get(key) for key in kinds):
        raise UsageError(f"population {path} names no net: give {', '.join(kinds)}")
    return document


def _net(path: Path, number: int, stages: Any) -> list[list[int]]:
    try:
        config = AnyNetConfig(*(tuple(values) for values in stages))
        config.check_compatible()
    except (TypeError, UsageError) as error:
        raise UsageError(f"{path}: net {number}: {error}") from error
    return [list(values) for values in (config.depths, config.widths, config.bottlenecks, config.group_widths)]


def _check_source(path: Path, text: str, member: str | None) -> None:
    try:
        tree = ast.parse(text, str(path))
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{path} is no Python: {error}") from error
    defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    if member is None:
        raise UsageError(f"{path}: which of its callables? write {path}:NAME (known: {', '.join(sorted(defined))})")
    if not (defined | set(_other_names(tree))) & {member, "*"}:
        raise unknown(f"callable of {path}", member, defined)
    beside = {other.stem for other in path.absolute().parent.iterdir() if other.suffix == ".py" or other.is_dir()}
    if near := sorted(_imported(tree) & (beside - {path.stem} | {"."})):
        raise UsageError(
            f"{path} imports {near[0]} from its own folder, but only this one file is kept with the study: "
            "put it into the file, or install it as a package"
        )


def _other_names(tree: ast.Module) -> Iterator[str]:
    """Names that the module binds at its top level by import or assignment."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _imported(tree: ast.Module) -> set[str]:
    """First parts of what is imported anywhere; ``.`` for a relative import."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." if node.level else (node.module or "").partition(".")[0])
    return found
