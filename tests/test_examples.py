"""The examples in docstrings are run."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [path for room in ("toolkit", "data_prep") for path in sorted((ROOT / room).rglob("*.py"))]
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES if "    >>> " in path.read_text()]


@pytest.mark.parametrize("name", MODULES)
def test_an_example_says_what_is_printed(name: str) -> None:
    found = doctest.testmod(import_module(name))
    assert found.attempted and not found.failed
