"""How the jobs of lost tasks ended: Slurm's accounts say it, and where there are none the job's own log does."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from toolkit.cluster.accounting import Endings, endings
from toolkit.files import read_end
from toolkit.study import Study
from toolkit.study.logs import element_log
from toolkit.study.states import TaskState
from toolkit.study.submission import Submission, submissions

MEMORY, TIME = "OUT_OF_MEMORY", "TIMEOUT"
"""Slurm's words for what a job of more memory, or of more time, may come through."""
LOG_END = 1 << 14
"""Bytes of a log's end in which slurmstepd's last word stands (our choice)."""
LAST_WORD = re.compile(r"^slurmstepd\S*: error: .*", re.MULTILINE)
SAID = {
    MEMORY: re.compile(r"oom.?kill|out.of.memory|exceeded .*memory limit", re.IGNORECASE),
    TIME: re.compile(r"DUE TO TIME LIMIT"),
}


def ending(state: TaskState, known: Endings) -> str:
    """What is known of how a task's job ended; empty: nothing."""
    return known.get(state.submission or "", {}).get(state.element or 0, "")


def how_ended(study: Study, states: Mapping[str, TaskState], known: Endings) -> Endings:
    """How the jobs of lost tasks ended, beside what is ``known``: by sacct, else by what slurmstepd left in the log."""
    lost = [s for s in states.values() if s.state == "lost" and not s.held and not ending(s, known)]
    if not lost:
        return known
    names = {state.submission for state in lost}
    records = {s.name: s for s in submissions(study) if s.executor == "slurm" and s.name in names}
    known = {**known, **endings(records.values())}
    found: dict[str, dict[int, str]] = defaultdict(dict)
    for submission, element in _untold(lost, known, records):
        if word := _last_word(study, submission, element):
            found[submission.name][element] = word
    return {**known, **{name: {**known.get(name, {}), **words} for name, words in found.items()}}


def _untold(
    lost: list[TaskState], known: Endings, records: Mapping[str, Submission]
) -> Iterator[tuple[Submission, int]]:
    elements = {(s.submission or "", s.element or 0) for s in lost if not ending(s, known)}
    return ((records[name], element) for name, element in elements if name in records)


def _last_word(study: Study, submission: Submission, element: int) -> str:
    """`MEMORY` or `TIME` when the last thing that slurmstepd said means that."""
    try:
        text = read_end(element_log(study, submission, element), LOG_END).decode(errors="replace")
    except OSError:
        return ""
    said = LAST_WORD.findall(text)[-4:]  # the step's word, and the job's
    return next((word for word, pattern in SAID.items() if any(map(pattern.search, said))), "")
