"""Debug executor: the tasks run in this process, one element after another; a debugger can step into them."""

from pathlib import Path

from toolkit.study import Study
from toolkit.study.submission import Submission


def run(study: Study, submission: Submission) -> None:
    """Train all tasks of the submission here. Ctrl-C saves the running task and raises `KeyboardInterrupt`."""
    from toolkit.train import train
    from toolkit.training.stop import on_signals

    with on_signals() as stop:
        for element in submission.elements:
            train(study, element, data=Path(submission.data), pack=submission.pack, stop=stop)
            if stop:
                raise KeyboardInterrupt
