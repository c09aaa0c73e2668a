"""The controller of a study on Slurm: one small job after each wave, which looks and launches the next one.

python -m toolkit.planning.controller runs/NAME/submissions/RECORD.json
"""

from collections.abc import Sequence
from pathlib import Path

from toolkit.cli import print_json, run
from toolkit.launching.reconcile import no_display
from toolkit.planning.controller_job import request_path
from toolkit.planning.request import WaveRequest
from toolkit.planning.waves import make_waves, run_waves
from toolkit.study import Study


def main(argv: Sequence[str]) -> int:
    """Launch the next wave, and print where the study stands as one JSON document."""
    record = Path(argv[0])
    request = WaveRequest.read(request_path(Study(record.parent.parent), record.stem))
    print_json(run_waves(make_waves(request), no_display, controller=record.stem))
    return 0


if __name__ == "__main__":
    run(main)
