"""What the stage download starts for each shard: img2dataset, in a process group that ends with its starter.

python -m data_prep.imagenot.fetch

The arguments of ``img2dataset.download`` are the first line of its input, as JSON. When the input ends, whatever killed
the other side, all processes of the group are killed: nothing goes on asking servers for images that nobody awaits.
"""

import json
import os
import signal
import sys
import threading
from typing import Any

# img2dataset's three processes import this module too, then all of theirs. torch is half of that time, and webdataset,
# which asks for it, does without. albumentations would ask the network for its newest version, each time.
sys.modules["torch"] = None  # type: ignore[assignment]
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"


def main() -> None:
    """Fetch."""
    arguments: dict[str, Any] = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_starter, daemon=True).start()
    import img2dataset

    img2dataset.download(**arguments)


def _end_with_starter() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
