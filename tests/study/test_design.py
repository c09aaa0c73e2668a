"""docs/design.md names functions and files: they are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "design.md").read_text()
WALKS = re.findall(r"`((?:toolkit|data_prep)/[\w/]+\.py):(\w+)`", TEXT)


def test_the_walks_are_there():
    assert len(WALKS) > 25


@pytest.mark.parametrize(("file", "name"), WALKS, ids=[":".join(step) for step in WALKS])
def test_every_step_of_a_walk_exists(file, name):
    tree = ast.parse((ROOT / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
