"""The lines that docs/comparison.md counts are those of the scripts it shows; ours is understood by the launcher."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "comparison.md").read_text()
BLOCK = re.compile(r"```\w+\n# ([\w.]+)\n(.*?)```", re.DOTALL)


def typed(section: str) -> int:
    """Lines of a section's scripts that are neither blank nor a comment."""
    lines = [line.strip() for _, text in BLOCK.findall(section) for line in text.splitlines()]
    return sum(bool(line) and not line.startswith("#") for line in lines)


def test_the_table_counts_the_scripts_below_it() -> None:
    counted = [int(n) for n in re.findall(r"^\| [^|]+\| [^|]+\| \d+ \| (\d+) \|", PAGE, re.MULTILINE)]
    sections = PAGE.partition("## The scripts")[2].split("### ")[1:]
    assert counted == [typed(section) for section in sections] and len(counted) == 4
