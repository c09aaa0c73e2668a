"""Which samples of a parent a subset takes, and under which labels."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.wordnet import WordNet
from toolkit.errors import UsageError
from toolkit.names import unknown
from toolkit.study.dataset import Manifest
from toolkit.texts import read_text


@dataclass(frozen=True)
class SubsetRequest:
    """Which subsets of a parent are wanted. Raises `UsageError` where the wishes contradict each other."""

    classes: tuple[int, ...] = ()
    """Numbers of classes, drawn at random."""
    class_list: Path | None = None
    """File with the classes, an id a line, in their place."""
    draws: int = 1
    """Independent draws of each."""
    seed: int = 0
    per_class: int | None = None
    """Training images of each class, at most."""
    label_noise: float = 0.0
    """Share of training images whose label is changed."""
    merge_depth: int | None = None
    """Classes become their WordNet ancestors so many steps below the root."""
    wordnet: Path = Path("/usr/share/wordnet")
    name: str | None = None
    """Of the one subset; None: made from the parent's and the wishes."""

    def __post_init__(self) -> None:
        """Raise `UsageError` with the first thing that is wrong."""
        drawn = self.classes or self.per_class is not None
        several = self.draws > 1 or len(self.classes) > 1
        wanted = drawn or self.class_list or self.label_noise or self.merge_depth is not None
        wrong = {
            "--draws is at least 1": self.draws < 1,
            "--draws goes with --classes or --per-class": self.draws > 1 and not drawn,
            "--name names one subset, the options ask for several": bool(self.name) and several,
            "--class-list needs a --name": bool(self.class_list) and not self.name,
            "--per-class is at least 1": self.per_class is not None and self.per_class < 1,
            "--label-noise is a share, 0 to 1": not 0 <= self.label_noise <= 1,
            "--merge-depth is at least 0": self.merge_depth is not None and self.merge_depth < 0,
            "give --classes, --class-list, --per-class, --label-noise or --merge-depth": not wanted,
        }
        for problem, is_so in wrong.items():
            if is_so:
                raise UsageError(problem)


class Plan(NamedTuple):
    """What one subset takes from its parent."""

    name: str
    chosen: Sequence[int]
    """The parent's labels that are kept, ascending."""
    groups: Sequence[int]
    """For each of them, the new label."""
    classes: Sequence[str]
    class_names: Sequence[str]
    seed: int | None
    """None: nothing was drawn."""
    draw: int = 1
    per_class: int | None = None
    """Training images kept of each class, at most."""
    label_noise: float = 0.0
    """Share of the training images whose label is changed to another one."""
    merge_depth: int | None = None

    def rng(self, purpose: str) -> random.Random:
        """A generator of this subset's own."""
        return random.Random(f"{self.seed}/{len(self.chosen)}/{self.draw}/{purpose}")


def take(labels: NDArray[np.int64], plan: Plan, training: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which samples of a split with the parent's ``labels`` (n,) the subset has, ascending, and their new labels."""
    relabel = np.full(max(int(labels.max()), *plan.chosen) + 1, -1)
    relabel[list(plan.chosen)] = plan.groups
    new = relabel[labels]
    numbers = np.flatnonzero(new >= 0)
    if training and plan.per_class is not None:
        numbers = _capped(numbers, new[numbers], plan)
    new = new[numbers]
    return numbers, _with_noise(new, plan) if training and plan.label_noise else new


def _capped(numbers: NDArray[np.int64], labels: NDArray[np.int64], plan: Plan) -> NDArray[np.int64]:
    rng, kept = plan.rng("images"), []
    for label in range(len(plan.classes)):
        of_class = numbers[labels == label].tolist()
        kept += rng.sample(of_class, min(plan.per_class or 0, len(of_class)))
    return np.sort(np.array(kept, np.int64))


def _with_noise(labels: NDArray[np.int64], plan: Plan) -> NDArray[np.int64]:
    rng, noisy, classes = plan.rng("noise"), labels.copy(), len(plan.classes)
    for number in rng.sample(range(len(labels)), round(plan.label_noise * len(labels))):
        noisy[number] = (labels[number] + rng.randrange(1, classes)) % classes
    return noisy


def all_plans(parent: Manifest, request: SubsetRequest) -> Iterator[Plan]:
    """The subsets that are wanted. Raises `UsageError` when the parent has no such classes."""
    if request.class_list:
        yield _plan(parent, request, _listed(parent, request.class_list), 1, request.name or "")
        return
    for count in request.classes or [len(parent.classes)]:
        if not 2 <= count <= len(parent.classes):
            raise UsageError(f"--classes {count}: {parent.name} has {len(parent.classes)} classes, a subset at least 2")
        for draw in range(1, request.draws + 1):
            rng = random.Random(f"{request.seed}/{count}/{draw}/classes")
            chosen = sorted(rng.sample(range(len(parent.classes)), count))
            yield _plan(parent, request, chosen, draw, request.name or _name(parent.name, count, draw, request))


def _name(parent: str, count: int, draw: int, request: SubsetRequest) -> str:
    counted = request.classes or request.per_class is not None
    parts = [
        parent,
        f"{count}" if counted else "",
        f"{request.per_class}" if request.per_class is not None else "",
        f"noise{100 * request.label_noise:g}" if request.label_noise else "",
        f"depth{request.merge_depth}" if request.merge_depth is not None else "",
    ]
    return "-".join(part for part in parts if part) + (f".{draw}" if request.draws > 1 else "")


def _plan(parent: Manifest, request: SubsetRequest, chosen: Sequence[int], draw: int, name: str) -> Plan:
    ids = [parent.classes[label] for label in chosen]
    names = [parent.class_names[label] for label in chosen] if parent.class_names else []
    groups = list(range(len(chosen)))
    if request.merge_depth is not None:
        ids, names, groups = _merged(ids, request.merge_depth, WordNet(request.wordnet))
    if len(ids) < 2:
        raise UsageError(f"{name} would have one class: give a larger --merge-depth, or more classes")
    drawn = request.classes or request.per_class is not None or request.label_noise
    seed = request.seed if drawn else None
    return Plan(
        name, chosen, groups, ids, names, seed, draw, request.per_class, request.label_noise, request.merge_depth
    )


def _merged(ids: Sequence[str], depth: int, wordnet: WordNet) -> tuple[list[str], list[str], list[int]]:
    """Ids and names of the classes' ancestors ``depth`` steps below the root, and for each class its ancestor's number.

    A class that lies higher stays itself.
    """
    lines = [_from_root(wnid, wordnet) for wnid in ids]
    ancestors = [line[min(depth, len(line) - 1)] for line in lines]
    merged = list(dict.fromkeys(ancestors))
    return merged, [wordnet.synset(w).lemmas[0] for w in merged], [merged.index(a) for a in ancestors]


def _from_root(wnid: str, wordnet: WordNet) -> list[str]:
    """The synset's ancestors from the root (entity) down to itself, by the first hypernym of each."""
    line = [wnid]
    while above := wordnet.synset(line[-1]).hypernyms:
        line.append(above[0])
    return line[::-1]


def _listed(parent: Manifest, file: Path) -> list[int]:
    """Labels of the classes a file lists: an id (or name) a line; what follows the first blank is a comment."""
    if not file.is_file():
        raise UsageError(f"--class-list {file} is no file; it should hold a class id a line")
    numbers = {name: label for names in (parent.class_names, parent.classes) for label, name in enumerate(names)}
    lines = [line.strip() for line in read_text(file).splitlines()]
    keys = [line if line in numbers else line.split()[0] for line in lines if line and not line.startswith("#")]
    for key in keys:
        if key not in numbers:
            raise unknown(f"class in {file}", key, numbers)
    return sorted({numbers[key] for key in keys})
