"""Measure a part of the toolkit on this machine; in a source tree, against its peers as well.

python -m toolkit.bench NAME [--json] ...      each NAME has its own --help
"""

import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from toolkit import benchmarks
from toolkit.cli import parser, run
from toolkit.names import unknown

TREE = Path(__file__).parents[1]
"""The source tree, if this is one: its tests hold the benchmarks that need other libraries."""
ELSEWHERE = "; benchmarks against other libraries come with the source tree, in tests/benchmarks, and not by pip"


def main(argv: Sequence[str]) -> int:
    """Hand the arguments after NAME to the module of that name."""
    packages = find_benchmarks()
    arguments = parser("toolkit.bench", __doc__)
    arguments.add_argument("name", metavar="NAME", help=", ".join(packages))
    name = arguments.parse_args(argv[:1]).name
    if name not in packages:
        raise unknown("benchmark", name, packages, "" if _peers().is_dir() else ELSEWHERE)
    if str(TREE) not in sys.path:
        sys.path.insert(0, str(TREE))
    return import_module(f"{packages[name]}.{name}").main(argv[1:])


def find_benchmarks() -> dict[str, str]:
    """The package of each benchmark, by its name; one against peers takes the place of the shipped one it widens."""
    folders = {"toolkit.benchmarks": list(benchmarks.__path__), "tests.benchmarks": [str(_peers())]}
    found = {module.name: package for package, path in folders.items() for module in pkgutil.iter_modules(path)}
    return {name: found[name] for name in sorted(found) if not name.startswith(("_", "test_"))}


def _peers() -> Path:
    return TREE / "tests" / "benchmarks"


if __name__ == "__main__":
    run(main)
