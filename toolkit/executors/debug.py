"""Debug executor: the tasks run in this process, one element after another; a debugger can step into them."""

from dataclasses import dataclass
from pathlib import Path

from toolkit.executors.base import Elements
from toolkit.study import Study
from toolkit.study.submission import ONE_BY_ONE, Manner, Submission, new_submission, record_path


@dataclass(frozen=True)
class DebugExecutor:
    """Runs a submission's tasks here."""

    study: Study
    data: Path
    manner: Manner = ONE_BY_ONE

    def submit(self, elements: Elements, after: object = ()) -> list[Submission]:
        """Record the elements."""
        submission = new_submission(self.study, "debug", elements, self.data, self.manner)
        submission.write(record_path(self.study, submission))
        return [submission]

    def describe(self, elements: Elements) -> dict[str, object]:
        """Nothing that the summary lacks."""
        return {}

    def run(self, submission: Submission) -> None:
        """Train all tasks of the submission. Ctrl-C saves the running task and raises `KeyboardInterrupt`."""
        from toolkit.training.request import TrainRequest, open_session
        from toolkit.training.stop import on_signals

        with on_signals() as stop, open_session(TrainRequest.of(self.study, submission), stop) as run:
            for element in submission.elements:
                run(element)
                if stop:
                    raise KeyboardInterrupt
