"""Arguments of an architecture as its name spells them: ``timm/resnet18?drop_path_rate=0.1&act_layer=gelu``."""

import json
import math
import tomllib
from collections.abc import Mapping
from typing import Any

from toolkit.errors import UsageError


def parse_arguments(name: str) -> tuple[str, dict[str, Any]]:
    """What stands before the question mark, and the arguments after it: TOML values, other words are strings.

    Raises `UsageError` for a part that is no ``KEY=VALUE`` and for a value of another kind than `spell_arguments` has.
    """
    base, _, text = name.partition("?")
    pairs = dict(_pair(name, part) for part in text.split("&")) if text else {}
    return base, pairs


def spell_arguments(base: str, arguments: Mapping[str, Any]) -> str:
    """The one spelling of a name with arguments: sorted by key, so that equal nets have equal names.

    Raises `UsageError` for values other than booleans, finite numbers, printable strings without ``&``, lists of those.
    """
    if not arguments:
        return base
    for key, value in arguments.items():
        if not (key.isidentifier() and _is_plain(value)):
            kinds = "true, false, a number, a printable word without &, or a list of these"
            raise UsageError(f"{base}: argument {key}={value!r} cannot be part of a name: give {kinds}")
    return f"{base}?" + "&".join(f"{key}={_spelled(arguments[key])}" for key in sorted(arguments))


def _pair(name: str, part: str) -> tuple[str, Any]:
    key, equals, value = part.partition("=")
    if not (equals and key.isidentifier()):
        raise UsageError(f"{name}: {part!r} is no argument: write KEY=VALUE, several joined by & (and quote the name)")
    return key, _read(value)


def _read(value: str) -> Any:
    try:
        return tomllib.loads(f"x = {value}")["x"]
    except (ValueError, RecursionError):
        return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, str):
        return value.isprintable() and "&" not in value
    return isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))


def _spelled(value: Any) -> str:
    if isinstance(value, str) and _read(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
