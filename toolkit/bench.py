"""Measure a part of the toolkit against its peers, on this machine.

python -m toolkit.bench NAME [--json] ...      each NAME has its own --help
"""

import pkgutil
from collections.abc import Sequence
from importlib import import_module

from toolkit import benchmarks
from toolkit.cli import parser, run
from toolkit.names import unknown


def main(argv: Sequence[str]) -> int:
    """Hand the arguments after NAME to ``toolkit.benchmarks.NAME``."""
    found = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    names = sorted(name for name in found if not name.startswith("_"))
    arguments = parser("toolkit.bench", __doc__)
    arguments.add_argument("name", metavar="NAME", help=", ".join(names))
    name = arguments.parse_args(argv[:1]).name
    if name not in names:
        raise unknown("benchmark", name, names)
    return import_module(f"toolkit.benchmarks.{name}").main(argv[1:])


if __name__ == "__main__":
    run(main)
