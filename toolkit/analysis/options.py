"""The options that say how a table is read, for every verb that reads one."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.analysis.table_source import Reading


def reading_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--accuracy``, ``--error``, ``--unit`` and ``--map``."""
    add = parser.add_argument
    kind = parser.add_mutually_exclusive_group()
    for quantity, plural in (("accuracy", "accuracies"), ("error", "errors")):
        kind.add_argument(
            f"--{quantity}",
            dest="quantity",
            action="store_const",
            const=quantity,
            help=f"values of all tables given are {plural}",
        )
    add("--unit", choices=("percent", "share", "none"), help="of a table's values (default: by their size)")
    add(
        "--map",
        action="append",
        default=[],
        metavar="COLUMN=ROLE",
        help="what a table's column is: architecture, dataset, seed, value, attribute, ignore, ...",
    )


def reading(args: argparse.Namespace) -> "Reading":
    """What these options say. Raises `UsageError` for an unknown role."""
    from toolkit.analysis.table_source import Reading, parse_roles

    return Reading(args.quantity, args.unit, parse_roles(args.map))
