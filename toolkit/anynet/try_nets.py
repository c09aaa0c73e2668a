"""Build nets and let them put out logits once: what a launch asks before it queues nets of the user's own.

python -m toolkit.anynet.try_nets < REQUEST.json

The request is ``{"texts": {NAME: TEXT}, "nets": [[NET, CLASSES, RESOLUTION, DROP_PATH]]}``.
"""

import sys
from collections.abc import Sequence

import orjson

from toolkit.anynet.architectures import architecture
from toolkit.cli import parser, run


def main(argv: Sequence[str]) -> int:
    """Raises `UsageError` with the first net that cannot be built."""
    parser("toolkit.anynet.try_nets", __doc__).parse_args(argv)
    request = orjson.loads(sys.stdin.buffer.read())
    for name, classes, resolution, drop_path in request["nets"]:
        net = architecture(name, request["texts"])
        net.build(classes, net.input_size(resolution), drop_path)
    return 0


if __name__ == "__main__":
    run(main)
