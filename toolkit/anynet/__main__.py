"""Show a population as a table, or one net stage by stage; sample a population of one's own.

python -m toolkit.anynet                       the 500 sampled nets
python -m toolkit.anynet imagenot-9            the named models of a study
python -m toolkit.anynet anynetx-500/17        one net, what each stage costs
python -m toolkit.anynet timm/resnet50d        a named model and its input size
python -m toolkit.anynet ./mynets.py:Net       a net of one's own, built and tried
python -m toolkit.anynet sample 100 --flops 360e6 400e6 --seed 1 --out mine.json
                                               a population of one's own, for launch --population mine.json
"""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from toolkit.anynet.architectures import Architecture, architecture
from toolkit.anynet.config import AnyNetConfig, Complexity
from toolkit.anynet.frozen import Freezer
from toolkit.anynet.population import POPULATIONS, Population, load_population
from toolkit.anynet.sampler import BUDGET, MAX_DEPTH, sample
from toolkit.cli import parser, positive, print_json, run, say
from toolkit.errors import ToolkitError, UsageError
from toolkit.files import write_atomic

FIELDS = ("depths", "widths", "bottlenecks", "group_widths")
COSTS = ("MF", "M params", "M act.")
WIDTH = 100  # columns of a table that goes to a file or a pipe
PERCENTILES = (0, 5, 25, 50, 75, 95, 100)


def main(argv: Sequence[str]) -> int:
    """Print what ``argv`` names, or sample."""
    if argv[:1] == ["sample"]:
        return _sample(argv[1:])
    arguments = _parse(argv)
    name, resolution, classes = arguments.name, arguments.resolution, arguments.classes
    freezer = Freezer()
    if name in POPULATIONS:
        population = load_population(name)
        document = describe_population(population, resolution, classes)
        tables = [_population_table(document), *([_percentiles(population)] if population.configs else [])]
    else:
        document = describe(architecture(freezer.model(name), freezer.texts), resolution, classes)
        tables = [_stage_table(document) if document["stages"] else _named_table(document)]
    if arguments.json:
        print_json(document)
    else:
        _show(tables)
    return 0


def _parse(argv: Sequence[str]) -> Namespace:
    arguments = parser("toolkit.anynet", __doc__)
    arguments.add_argument(
        "name", nargs="?", default="anynetx-500", help=f"a population ({', '.join(POPULATIONS)}) or an architecture"
    )
    arguments.add_argument("--resolution", type=int, default=224, help="side of the images in pixels (default 224)")
    arguments.add_argument("--classes", type=int, default=1000, help="outputs of the net (default 1000)")
    arguments.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parsed = arguments.parse_args(argv)
    if min(parsed.resolution, parsed.classes) < 1:
        raise UsageError("--resolution and --classes must be 1 or more")
    return parsed


def _sample(argv: Sequence[str]) -> int:
    arguments = parser("toolkit.anynet sample", "Sample nets of the AnyNetX space within a budget, and write them.")
    arguments.add_argument("nets", type=positive, help="how many")
    arguments.add_argument(
        "--flops",
        type=float,
        nargs=2,
        default=BUDGET,
        metavar=("LOW", "HIGH"),
        help="multiply-adds at 224 pixels and 1000 classes (360e6 400e6)",
    )
    arguments.add_argument("--depth", type=positive, default=4 * MAX_DEPTH, help="most blocks of a net (%(default)s)")
    arguments.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    arguments.add_argument("--out", type=Path, required=True, metavar="FILE", help="the population, a .json file")
    given = arguments.parse_args(argv)
    if given.out.suffix != ".json":
        raise UsageError(f"--out {given.out}: a population is a .json file")
    low, high = given.flops
    nets = sample(given.nets, (low, high), given.seed, given.depth)
    shallow = f", at most {given.depth} blocks" if given.depth < 4 * MAX_DEPTH else ""
    document = {
        "title": f"{given.nets} nets of AnyNetX with {low / 1e6:g} to {high / 1e6:g} MF{shallow}",
        "seed": given.seed,
        "nets": [[getattr(net, field) for field in FIELDS] for net in nets],
    }
    try:
        write_atomic(given.out, json.dumps(document).replace("[[[", "[\n [[").replace("]], [[", "]],\n [[").encode())
    except OSError as error:
        raise ToolkitError(f"{given.out} cannot be written ({error.strerror})") from error
    last = len(nets) - 1
    say(f"{given.out}: {len(nets)} nets; train them by: launch --population {given.out} --array 0-{last} --dataset ...")
    return 0


def describe_population(population: Population, resolution: int, classes: int) -> dict[str, Any]:
    """All architectures of a population with their numbers and costs."""
    nets = [describe(architecture(name), resolution, classes) for name in population.architectures]
    return {"name": population.name, "title": population.title, "seed": population.seed, "architectures": nets}


def describe(net: Architecture, resolution: int, classes: int) -> dict[str, Any]:
    """An architecture's numbers, what it costs at the size it would be trained on, and what each stage costs."""
    side = net.input_size(resolution)
    costs = net.complexity(side, classes) or _counted(net, side, classes)
    return {
        "name": net.name,
        "input_size": side,
        "classes": classes,
        "config": {field: getattr(net.config, field) for field in FIELDS} if net.config else None,
        "complexity": costs._asdict() if costs else None,
        "stages": _stages(net.config, side) if net.config else [],
    }


def _counted(net: Architecture, side: int, classes: int) -> Complexity | None:
    """The cost of a net of one's own, or of a model with arguments, by building it; None for any other."""
    if not {"?", "@"} & set(net.name):
        return None
    from toolkit.anynet.count import count_by_operations

    return count_by_operations(net.build(classes, side), side)


def _stages(config: AnyNetConfig, resolution: int) -> list[dict[str, int]]:
    """One row a stage: its numbers, the side of the maps it puts out, its share of the costs."""
    rows = zip(*(getattr(config, field) for field in FIELDS), strict=True)
    keys = ("depth", "width", "bottleneck", "group_width")
    sides = config.output_sides(resolution)
    return [
        {**dict(zip(keys, row, strict=True)), "inner_width": inner, "side": side, **costs._asdict()}
        for row, inner, side, costs in zip(rows, config.inner_widths, sides, config.stages(resolution), strict=True)
    ]


def _show(tables: Sequence["Table"]) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for table in tables:
        console.print(table)


def _population_table(document: dict[str, Any]) -> Table:
    nets = document["architectures"]
    sampled = nets[0]["config"] is not None
    table = _table(document["title"], "architecture", *("dwbg" if sampled else ["input"]), *COSTS)
    for net in nets:
        numbers = [" ".join(map(str, values)) for values in net["config"].values()] if sampled else [net["input_size"]]
        table.add_row(net["name"], *map(str, numbers), *_costs(net["complexity"]))
    return table


def _percentiles(population: Population) -> Table:
    table = _table("Percentiles over the nets", "", *map(str, PERCENTILES))
    for title, values in {
        "cumulative depth": [c.cumulative_depth for c in population.configs],
        "cumulative width": [c.cumulative_width for c in population.configs],
    }.items():
        table.add_row(title, *(f"{p:g}" for p in np.percentile(values, PERCENTILES)))
    return table


def _stage_table(document: dict[str, Any]) -> Table:
    names = ("stage", "d", "w", "b", "g", "w/b", "side", *COSTS)
    table = _table(_title(document), *names)
    for number, stage in enumerate(document["stages"], 1):
        *numbers, flops, params, activations = stage.values()
        table.add_row(str(number), *map(str, numbers), *_costs(Complexity(flops, params, activations)._asdict()))
    table.add_section()
    table.add_row("net", *[""] * 6, *_costs(document["complexity"]))
    return table


def _named_table(document: dict[str, Any]) -> Table:
    table = _table(_title(document), *COSTS)
    table.add_row(*_costs(document["complexity"]))
    return table


def _costs(complexity: dict[str, int] | None) -> list[str]:
    if complexity is None:
        return ["-"] * len(COSTS)
    millions = {key: count / 1e6 for key, count in complexity.items()}
    return [f"{millions['flops']:.1f}", f"{millions['params']:.3f}", f"{millions['activations']:.2f}"]


def _title(document: dict[str, Any]) -> str:
    return f"{document['name']} at {document['input_size']} px, {document['classes']} classes"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", min_width=len(title))
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    return table


if __name__ == "__main__":
    run(main)
