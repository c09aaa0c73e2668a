"""Where a study stands: datasets by state, what runs, what failed and why.

python -m toolkit.status NAME
python -m toolkit.status NAME --watch      # until nothing is queued or running
python -m toolkit.status NAME --failed     # reasons, and how to look further
python -m toolkit.status NAME --efficiency    # processor, memory and GPU used of what was asked; the next profile
python -m toolkit.status NAME --ids lost   # the tasks of a state with their ids (no state: all tasks)
"""

import argparse
from collections.abc import Sequence

from toolkit.cli import parser, print_json, run, say


def main(argv: Sequence[str]) -> int:
    """Print the states; status 0 whatever they are."""
    given = _parser().parse_args(argv)
    from toolkit.files import uncollected

    if given.efficiency:
        return _efficiency(given.study, given.json)
    if given.watch:
        _watch(given.study)
    with uncollected():
        _show(given)
    return 0


def _watch(path: str) -> None:
    from toolkit.launching.snapshot import StudySnapshot
    from toolkit.render.states import watch

    watch(StudySnapshot.of(path))


def _show(given: argparse.Namespace) -> None:
    from toolkit.launching.snapshot import StudySnapshot
    from toolkit.render.states import print_states

    look = StudySnapshot.of(given.study)
    if given.json:
        print_json(look.document())
    elif given.ids is not None:
        say("\n".join(look.listed(given.ids)))
    else:
        print_states(look, given.failed)


def _efficiency(path: str, as_json: bool) -> int:
    from toolkit.launching.efficiency import Efficiency
    from toolkit.study import Study

    found = Efficiency.of(Study.open(path))
    if as_json:
        print_json(found.document())
        return 0
    from rich.console import Console

    from toolkit.render.states import efficiency

    Console().print(efficiency(found), soft_wrap=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    p = parser("toolkit.status", __doc__)
    p.add_argument("study", metavar="STUDY", help="folder runs/NAME, or a path")
    p.add_argument("--watch", action="store_true", help="redraw every 2 s until nothing is queued or running")
    p.add_argument("--failed", action="store_true", help="list what failed, diverged or was lost, with the reason")
    p.add_argument("--efficiency", action="store_true", help="what was used of what was asked, and the next profile")
    p.add_argument("--ids", nargs="*", metavar="STATE", help="list tasks with their ids: those in these states, or all")
    p.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return p


if __name__ == "__main__":
    run(main)
