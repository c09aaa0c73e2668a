"""Check a cluster from its login node, and say what to fix.

    python -m toolkit.doctor --profile my-site.toml --data /datasets
    python -m toolkit.doctor --wait 0        # without the job of a minute

Looks at Slurm and its limits, the partition, folders and binds, the image and the versions in it; then runs a short job
that looks for the data from a node, writes a tiny dataset, reads it and trains on it.
"""

import argparse
from collections.abc import Sequence

from toolkit.cli import parser, print_json, run, say


def main(argv: Sequence[str]) -> int:
    """Print what was found; status 1 when something needs fixing."""
    given = _parser().parse_args(argv)
    from toolkit.cluster.checks import examine
    from toolkit.cluster.profile import load_profile
    from toolkit.study import data_root

    profile = load_profile(given.profile)
    if given.image:
        profile = profile.model_copy(update={"image": given.image})
    findings = []
    for finding in examine(profile, data_root(given.data).absolute(), given.wait):
        findings.append(finding)
        if not given.json:
            say(f"{'ok ' if finding.good else 'FIX'} {finding.part:13}{finding.text}")
    if given.json:
        print_json([finding.document() for finding in findings])
    return int(not all(finding.good for finding in findings))


def _parser() -> argparse.ArgumentParser:
    p = parser("toolkit.doctor", __doc__)
    p.add_argument("--profile", metavar="FILE", help="cluster profile, as launch takes it")
    p.add_argument("--image", metavar="SIF", help="the image tasks will run in")
    p.add_argument("--data", metavar="DIR", help="data root (TOOLKIT_DATA, or ./data)")
    p.add_argument(
        "--wait", type=float, default=180, metavar="S", help="how long the job may take; 0: none (%(default)s)"
    )
    p.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return p


if __name__ == "__main__":
    run(main)
