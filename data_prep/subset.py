"""Writes datasets that are parts of another one: fewer classes, fewer images, noisy labels, merged classes.

The parent's encoded images are copied byte for byte; nothing is decoded. Labels become 0..k-1 in the order of the
parent's labels (merged classes: of the first class in each), images keep the parent's order. Validation images are
restricted to the same classes; cap and noise touch training images only.

  subset imagenet --classes 100 10 --draws 5     imagenet-100.1 .. imagenet-100.5, imagenet-10.1 .. imagenet-10.5
  subset imagenet --classes 2                    imagenet-2
  subset imagenet --per-class 10                 imagenet-1000-10, the size control of Tuggener et al. 2022
  subset imagenet --class-list dogs.txt --name imagenet-dogs
  subset imagenet --classes 100 --label-noise 0.2
  subset imagenet --merge-depth 7                classes become their WordNet ancestors 7 steps below "entity"
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.subsets.subset_spec import SubsetRequest, all_plans
from data_prep.writing import options as cli
from toolkit.cli import parser, run, say
from toolkit.study.dataset import data_root, find_dataset


def main(argv: Sequence[str]) -> int:
    """Write subsets."""
    options = parser("data_prep.subset", __doc__)
    options.add_argument("parent", help="the dataset to take from: its name, or its folder")
    which = options.add_mutually_exclusive_group()
    which.add_argument("--classes", type=int, nargs="+", metavar="K", help="so many classes, drawn at random")
    which.add_argument("--class-list", type=Path, metavar="FILE", help="the classes in a file, an id (wnid) a line")
    options.add_argument("--draws", type=int, default=1, metavar="D", help="independent draws of each (default: 1)")
    options.add_argument("--seed", type=int, default=0, help="of everything drawn (default: 0)")
    options.add_argument("--per-class", type=int, metavar="N", help="at most so many training images of each class")
    options.add_argument("--label-noise", type=float, default=0.0, metavar="R", help="share of wrong training labels")
    options.add_argument("--merge-depth", type=int, metavar="D", help="merge classes into WordNet ancestors this deep")
    options.add_argument(
        "--wordnet", type=Path, default="/usr/share/wordnet", metavar="DIR", help="WordNet 3.0's files"
    )
    options.add_argument("--name", help="the subset's name, where it is one (default: made from parent and options)")
    options.add_argument("--metric", choices=("top1", "top5"), help="the error that counts (default: by class count)")
    options.add_argument("--data", type=Path, help="folder of datasets (default: TOOLKIT_DATA, else ./data)")
    options.add_argument("--overwrite", action="store_true", help="replace datasets that are there")
    options.add_argument("--workers", type=int, metavar="N", help="threads (default: the cores this process may use)")
    options.add_argument("--json", action="store_true", help="print the manifests on stdout")
    args = options.parse_args(argv)
    request = _request(args)
    folder = Path(args.parent) if "/" in args.parent else data_root(args.data) / args.parent
    parent = find_dataset(folder.name, folder.parent)
    _say_what_is_no_draw(request, len(parent.manifest.classes))
    plans = {cli.target(args, plan.name): plan for plan in all_plans(parent.manifest, request)}

    from data_prep.subsets.subset_copy import write_subset

    written = {
        path: write_subset(parent, plan, path, args.metric, workers=args.workers, overwrite=args.overwrite)
        for path, plan in plans.items()
    }
    cli.announce(written, args.json)
    return 0


def _request(args: argparse.Namespace) -> SubsetRequest:
    names = ("class_list", "draws", "seed", "per_class", "label_noise", "merge_depth", "wordnet", "name")
    return SubsetRequest(classes=tuple(args.classes or ()), **{name: getattr(args, name) for name in names})


def _say_what_is_no_draw(request: SubsetRequest, classes: int) -> None:
    if request.draws > 1 and classes in request.classes and request.per_class is None and not request.label_noise:
        say(f"note: --classes {classes} takes all classes: the {request.draws} draws are the same", to=sys.stderr)


if __name__ == "__main__":
    run(main)
