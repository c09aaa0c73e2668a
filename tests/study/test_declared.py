"""A study of many tasks: one is found without reading the others, and results are read once."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.study.strategies import result, task
from toolkit.files import read_regular
from toolkit.study import Study, declared
from toolkit.study import outcomes as module
from toolkit.study.outcomes import MEMORY, outcomes
from toolkit.study.task import Start, Task

TASKS = [task(f"anynetx-500/{i}", seed=seed) for i in range(8) for seed in range(3)]
TASKS += [
    task('odd/"{x}"\\', seed=1),
    TASKS[0].model_copy(update={"start": Start(task=TASKS[1].id, dataset="imagenet")}),
]


def made(path: Path, *parts: list[Task]) -> Study:
    study = Study.create(path)
    for part in parts:
        study.declare(part)
    return study


@given(st.data())
@settings(max_examples=30)
def test_tasks_are_found_by_id_beginning_and_label(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    first = data.draw(st.lists(st.sampled_from(TASKS), unique_by=lambda t: t.id))
    second = data.draw(st.lists(st.sampled_from(TASKS), unique_by=lambda t: t.id))
    study = made(tmp_path_factory.mktemp("s") / "study", first, second)
    every = {t.id: t for t in (*first, *second)}
    assert study.tasks() == every and list(study.tasks()) == list(every)
    assert {i: (label.architecture, label.column, label.seed) for i, label in study.labels().items()} == {
        i: (t.architecture, t.column, t.seed) for i, t in every.items()
    }
    for path in study.room("tasks").glob("*.index" if data.draw(st.booleans()) else "none"):
        path.unlink()  # as an earlier version left it
    wanted = set(data.draw(st.lists(st.sampled_from([t.id for t in TASKS]))))
    assert study.tasks(wanted) == {i: t for i, t in every.items() if i in wanted}
    assert all(study.task(i) == t for i, t in every.items())


def test_an_element_reads_its_own_lines_alone(tmp_path: Path) -> None:
    study = made(tmp_path / "study", TASKS)
    (file,) = study.room("tasks").glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(
        b"".join(line if TASKS[3].id.encode() in line else b"?" * (len(line) - 1) + b"\n" for line in lines)
    )
    assert study.tasks({TASKS[3].id}) == {TASKS[3].id: TASKS[3]}


def test_an_index_of_another_file_misleads_nobody(tmp_path: Path) -> None:
    study, other = made(tmp_path / "study", TASKS[:9]), made(tmp_path / "other", TASKS[4:])
    (index,) = study.room("tasks").glob("*.index")
    index.write_bytes(next(other.room("tasks").glob("*.index")).read_bytes())
    for one in TASKS[:9]:
        found = study.tasks({one.id})
        assert found in ({one.id: one}, {}) and (one in TASKS[:4] or found)


def test_labels_are_remembered_while_their_file_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declared, "WORTH", 2)
    study = made(tmp_path / "study", TASKS)
    (file,) = study.room("tasks").glob("*.jsonl")
    memory, want = file.with_suffix(".labels"), study.labels()

    def anew() -> dict[str, declared.Label]:
        """As another process reads them."""
        declared._labels.cache_clear()
        return study.labels()

    lines = file.read_bytes().splitlines(keepends=True)
    with monkeypatch.context() as spent:
        spent.setattr(declared, "_lines", lambda path: pytest.fail("it was read again"))
        assert anew() == want and list(anew()) == list(want)
    remembered = orjson.loads(memory.read_bytes())
    wrong = [
        {**remembered, **part} for part in ({"ids": "../x" * 100}, {"seed": ["1"]}, {"name": []}, {"names": [[1]]})
    ]
    for nonsense in (b"", b"{", b"[]", b'{"of": 3}', *map(orjson.dumps, wrong)):
        memory.write_bytes(nonsense)
        assert anew() == want
    file.write_bytes(b"".join(lines[1:]))
    assert list(anew()) == list(want)[1:]


def test_results_are_read_once_and_again_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORTH", 2)
    study, reads = made(tmp_path / "study", TASKS), []
    monkeypatch.setattr(module, "read_regular", lambda path: reads.append(path) or read_regular(path))
    for one in TASKS[:3]:
        result(one).write(study.result_path(one.id))
    assert {i: o[0] for i, o in outcomes(study.path).items()} == dict.fromkeys((t.id for t in TASKS[:3]), "done")
    reads.clear()
    study.result_path(TASKS[0].id).write_text("{")
    study.result_path(TASKS[1].id).unlink()
    found = outcomes(study.path)
    assert {i: o[0] for i, o in found.items()} == {TASKS[0].id: "damaged", TASKS[2].id: "done"}
    assert [Path(path) for path in reads if Path(path).name != MEMORY] == [study.result_path(TASKS[0].id)]
    for nonsense in (b"", b"[]", b'{"x": 1}', b"{"):
        (study.path / MEMORY).write_bytes(nonsense)
        assert outcomes(study.path) == found
