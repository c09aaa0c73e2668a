"""What a task printed is found among the lines of the others that shared its log."""

from pathlib import Path

import pytest

from toolkit.study import Study
from toolkit.study.logs import element_log, last_words, log_files, task_log
from toolkit.study.submission import new_submission, record_path

A, B, C = ("a" * 16, "b" * 16, "c" * 16)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.create(tmp_path / "study")


def test_an_array_has_a_log_an_element_and_a_pool_one_a_worker(study: Study) -> None:
    array = new_submission(study, "slurm", [[A, B], [C]], Path("data")).model_copy(update={"job": "7", "created": 1.0})
    pool = new_submission(study, "local", [[A], [B]], Path("data")).model_copy(update={"created": 2.0})
    for record in (array, pool):
        record.write(record_path(study, record))
    logs = study.room("logs")
    assert element_log(study, array, 1) == logs / "7_1_0_log.out"
    assert task_log(study, A) == "" and log_files(study, A) == []
    element_log(study, array, 0).write_text(f"began\n{B} one\nTraceback\n{A} two\n  more\n{B} three\n")
    element_log(study, array, 1).write_text("only what runs before a task\n" * 40)
    for number, line in ((0, f"{A} four"), (1, f"{B} five")):
        (logs / f"{pool.name}.worker{number}.log").write_text(f"{line}\n")
    (logs / f"{array.name}.worker0.log").write_text(f"{A} of nobody\n")
    assert task_log(study, A) == f"{A} two\n  more\n{A} four"
    assert task_log(study, B) == f"{B} one\nTraceback\n{B} three\n{B} five"
    assert [path.name for path in log_files(study, C)] == ["7_1_0_log.out"]
    shown = task_log(study, C).splitlines()
    assert shown[0] == f"(nothing from this task; the end of {element_log(study, array, 1)}:)" and len(shown) == 31


def test_the_last_words_of_a_task_are_no_other_tasks(study: Study) -> None:
    record = new_submission(study, "slurm", [[A, B, C]], Path("data")).model_copy(update={"job": "7"})
    record.write(record_path(study, record))
    lines = ["setup said", f"{A} one", "Traceback", f"{B} two", "slurmstepd: error: killed"]
    element_log(study, record, 0).write_text("\n".join(lines))
    assert last_words(study, A) == lines[1:3] and last_words(study, B) == lines[3:]
    assert last_words(study, C) == [lines[0], lines[4]]


def test_a_log_that_cannot_be_read_says_so(study: Study) -> None:
    record = new_submission(study, "slurm", [[A]], Path("data")).model_copy(update={"job": "7"})
    record.write(record_path(study, record))
    element_log(study, record, 0).mkdir()
    assert task_log(study, A) == ""
    element_log(study, record, 0).rmdir()
    element_log(study, record, 0).write_bytes(f"{A} caf\xe9\n".encode("latin-1"))
    assert task_log(study, A) == f"{A} caf\ufffd"
