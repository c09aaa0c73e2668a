"""The brake: a node on which elements end before they train must not eat the whole array.

The batch script notes such an end in ``nodes/NODE`` of the study, and takes the note away when an element gets through.
With `STRIKES` of them the rest of the array leaves the node out, and so does the next submission.
"""

import os
import shlex
from pathlib import Path

from toolkit.cluster.queue import DONE
from toolkit.files import read_regular

FOLDER = "nodes"
"""Of the study."""
STRIKES = 3
"""Elements that end early on a node, none between them getting through, until it counts as broken. Our choice."""
QUICK_S = 120
"""An element that ends later than this has trained. Our choice."""
PAUSE_S = 300
"""How long an element holds a broken node's place where Slurm does not let it leave the node out. Our choice."""
REMEMBERED_S = 24 * 3600
"""How long the next submissions leave a broken node out. Our choice."""
SOME_FAILED = 3
"""Exit status of an element whose tasks have their results, some of them failures."""
THROUGH = (0, SOME_FAILED, os.EX_TEMPFAIL)
"""Exit statuses of an element that has trained; diverged nets are results like others."""


def lines(folder: Path, exclude: str | None = None) -> list[str]:
    """Lines of a batch script, before all else that may fail.

    ``folder``: the study's ``nodes/``; ``exclude``: nodes that the profile leaves out.
    """
    broken = f"wc -l * | awk '$2 != \"total\" && $1 >= {STRIKES} {{print $2}}'"
    listed = f'cd "$nodes" && {{ {broken}; echo {shlex.quote(exclude)}; }}' if exclude else f'cd "$nodes" && {broken}'
    said = f"error: {STRIKES} elements ended early on $SLURMD_NODENAME: the rest of the array leaves it out"
    return [
        f"nodes={shlex.quote(str(folder.absolute()))}",
        'node="$nodes/$SLURMD_NODENAME"',
        "brake() {",
        f'    case $1 in {"|".join(map(str, THROUGH))}) rm -f "$node"; return ;; esac',
        f'    if [ "$1" -ge 128 ] || [ $SECONDS -gt {QUICK_S} ]; then return; fi',
        '    echo "$SLURM_ARRAY_JOB_ID $SLURM_ARRAY_TASK_ID $1" >> "$node"',
        f'    if [ "$(wc -l < "$node")" -lt {STRIKES} ]; then return; fi',
        f'    echo "{said}" >&2',
        f'    told=$(scontrol update "JobId=$SLURM_ARRAY_JOB_ID" "ExcNodeList=$({listed} | paste -sd,)" 2>&1)',
        f'    if [ $? -ne 0 ] && ! echo "$told" | grep -qE "{DONE}"; then echo "$told" >&2; sleep {PAUSE_S}; fi',
        "}",
        "trap 'brake $?' EXIT",
    ]


def strikes(folder: Path) -> dict[str, list[tuple[str, int]]]:
    """Job ids and array indices of the elements that ended early, by node, since one last got through there."""
    found: dict[str, list[tuple[str, int]]] = {}
    for path in sorted(folder.glob("[!.]*")) if folder.is_dir() else []:
        fields = [line.split() for line in _text(path).splitlines()]
        found[path.name] = [(f[0], int(f[1])) for f in fields if len(f) == 3 and f[1].isdigit()]
    return found


def broken_nodes(folder: Path, now: float) -> list[str]:
    """Nodes that the next submission leaves out. ``now``: Unix time by the file system's clock."""
    found = [node for node, ends in strikes(folder).items() if len(ends) >= STRIKES]
    return [node for node in found if now - (folder / node).lstat().st_mtime < REMEMBERED_S]


def described(folder: Path) -> str:
    """The broken nodes, each with the log of the element that ended early there last, for people."""
    found = {node: ends for node, ends in strikes(folder).items() if len(ends) >= STRIKES}
    return ", ".join(
        f"{node} ({len(ends)} elements ended early: logs/{ends[-1][0]}_{ends[-1][1]}_0_log.out)"
        for node, ends in found.items()
    )


def forget(folder: Path) -> None:
    """Take all notes away: every node is tried again."""
    for node in strikes(folder):
        (folder / node).unlink(missing_ok=True)


def _text(path: Path) -> str:
    try:
        return read_regular(path).decode(errors="replace")
    except OSError:
        return ""
