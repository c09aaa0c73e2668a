"""Model-images a second (images times nets) when K nets share one loader, against the arithmetic alone.

"arithmetic": the same nets on one batch that lies in memory. "sweep": the same number of updates through the
loader, with building the nets and the first batch; the imports of a fresh process are added to every K alike.
"of its CPU" is the arithmetic's share of the processor time: what "of it" comes to where no core is idle, and the one
to read on a machine with other work.
--peer adds the nets one by one in a plain loop with torchvision's loading.
"""

import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.cli import parser, print_json, run
from toolkit.engine.threads import allocation, prepare

PICTURES = {"small": (40, 40, 32), "large": (256, 320, 224)}
"""Height and width of an image, side of the crop, in pixels."""


def main(argv: Sequence[str]) -> int:
    """Time every K and print the table."""
    given = _arguments(argv)
    with tempfile.TemporaryDirectory() as folder:
        document = measure(given, Path(folder))
    if given.json:
        print_json(document)
    else:
        _show(document)
    return 0


def _arguments(argv: Sequence[str]) -> Namespace:
    arguments = parser("toolkit.bench sweep", __doc__)
    arguments.add_argument("--pictures", choices=PICTURES, default="small", help="40 pixels to 32, or 256x320 to 224")
    arguments.add_argument("--packs", type=int, nargs="+", default=[1, 2, 4, 8], metavar="K", help="sizes of a pack")
    arguments.add_argument("--batch", type=int, default=32)
    arguments.add_argument("--steps", type=int, default=16, help="updates of each net (default 16)")
    arguments.add_argument("--workers", type=int, default=allocation(), help="threads (default: all cores)")
    arguments.add_argument("--peer", action="store_true", help="time torchvision's loading, net by net, as well")
    arguments.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    return arguments.parse_args(argv)


def measure(given: Namespace, folder: Path) -> dict[str, Any]:
    """Rates by K, in model-images a second, and the rate of multiply-adds of the largest pack."""
    began = time.perf_counter()
    prepare(given.workers)
    from toolkit.benchmarks._nets import Bench

    bench = Bench(given, folder, *PICTURES[given.pictures])
    imports = time.perf_counter() - began
    bench.warm_up()
    rows = [{"k": k, **bench.rates(k, imports)} for k in given.packs]
    document = {
        "pictures": given.pictures,
        "batch": given.batch,
        "steps": given.steps,
        "workers": given.workers,
        "device": bench.device_name,
        "imports_s": imports,
        "macs_per_s": bench.macs_per_image * rows[-1]["arithmetic"],
        "rows": rows,
    }
    return document | ({"peer": bench.peer()} if given.peer else {})


def _show(document: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{document['pictures']} pictures, {document['steps']} updates of {document['batch']} images a net"
    table = Table(title=f"{title}, {document['device']}")
    for column in ("K", "arithmetic", "sweep", "of it", "of its CPU", "with imports"):
        table.add_column(column, justify="right")
    for row in document["rows"]:
        rates = (f"{row[key]:,.0f}" for key in ("arithmetic", "sweep"))
        table.add_row(
            str(row["k"]), *rates, f"{row['share']:.2f}", f"{row['cpu_share']:.2f}", f"{row['fresh_process']:,.0f}"
        )
    Console().print(table)
    if "peer" in document:
        Console().print(f"one by one with torchvision's loading: {document['peer']:,.0f}")
    print(f"imports {document['imports_s']:.1f} s; for estimates: TOOLKIT_RATE='DEVICE={document['macs_per_s']:.2e}'")


if __name__ == "__main__":
    run(main)
