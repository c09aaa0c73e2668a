"""What tasks used of what was asked for them, and the profile that would have done."""

from pathlib import Path

import orjson
import pytest

from tests.study.strategies import result, task
from toolkit.launching.efficiency import Efficiency
from toolkit.study import Study, Timing
from toolkit.study.submission import new_submission, record_path
from toolkit.study.task import Start
from toolkit.study.usage import Usage


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.create(tmp_path / "study")


def ended(study: Study, seed: int, total_s: float = 100.0, pack: int = 1, **usage: object) -> Path:
    """The result of a task that used this."""
    of = {"seconds": 100.0, "cpu_s": 150.0, "cpus": 2, "memory_gb": 1.0, **usage}
    one = result(task(seed=seed))
    changes = {
        "usage": Usage.model_validate(of),
        "timing": Timing(total_s=total_s),
        "provenance": one.provenance.model_copy(update={"pack": pack}),
    }
    path = study.result_path(one.id)
    one.model_copy(update=changes).write(path)
    return path


def test_rows_share_out_what_was_asked(study: Study) -> None:
    ended(study, 0, memory_gb=1.0, memory_asked_gb=4)
    ended(study, 1, total_s=300.04, seconds=300.0, cpu_s=90.0, memory_gb=3.0004, memory_asked_gb=4)
    ended(study, 2, cpus=8)
    found = Efficiency.of(study)
    asked, other = sorted(found.rows, key=lambda row: int(row["cpus"]))
    assert asked == {
        "dataset": "toy", "tasks": 2, "cpus": 2, "cpu_use": 0.3, "memory_gb": 4.0, "memory_most_gb": 3.0,
        "memory_use": 0.7501, "gpus": 0, "gpu_use": None, "gpu_memory_most_gb": None, "gpu_joules": None,
        "longest_s": 300.0,
    }  # fmt: skip
    assert (other["tasks"], other["cpu_use"], other["memory_gb"], other["memory_use"]) == (1, 0.1875, None, None)
    assert found.document() == {"efficiency": found.rows, "without_usage": 0, "proposal": found.proposal}


def test_gpus_are_weighed_by_time_and_joules_shared_by_a_pack(study: Study) -> None:
    ended(study, 0, gpus=1, gpu_use=0.2, gpu_memory_gb=5.0, gpu_watts=200.0, pack=4)
    ended(study, 1, seconds=300.0, gpus=1, gpu_use=0.4, gpu_memory_gb=7.0, gpu_watts=100.0)
    ended(study, 2, gpus=1)
    [row] = Efficiency.of(study).rows
    assert (row["gpu_use"], row["gpu_memory_most_gb"], row["gpu_joules"]) == (0.35, 7.0, 35_000)
    assert Efficiency.of(study).proposal[-1] == "# the GPUs were busy for 30% of the time: launch with --pack auto"
    ended(study, 3, gpus=1, gpu_use=1.0)
    assert all("busy for" not in line for line in Efficiency.of(study).proposal[3:])


def test_the_proposal_is_the_busiest_and_the_longest_with_some_to_spare(study: Study) -> None:
    assert Efficiency.of(study) == Efficiency([], 0, [])
    ended(study, 0, total_s=1000.0, seconds=1000.0, cpu_s=2050.0, memory_gb=3.3)
    ended(study, 1, total_s=1600.0, pack=4, memory_gb=0.2)
    assert Efficiency.of(study).proposal == [
        "cpus = 2  # the busiest task kept 2.0 cores busy",
        "memory_gb = 4.5  # the most seen was 3.30",
        "time_min = 25  # 1 tasks an element, the longest took 1000 s",
    ]
    record = new_submission(study, "slurm", [["a" * 16, "b" * 16], ["c" * 16]], Path("data"))
    record.write(record_path(study, record))
    assert Efficiency.of(study).proposal[2] == "time_min = 50  # 2 tasks an element, the longest took 1000 s"


def test_little_work_still_gets_a_core_a_gigabyte_and_ten_minutes(study: Study) -> None:
    ended(study, 0, total_s=1.0, seconds=0.0, cpu_s=0.0, memory_gb=0.0)
    assert [line.partition("  #")[0] for line in Efficiency.of(study).proposal] == [
        "cpus = 1", "memory_gb = 1", "time_min = 10"
    ]  # fmt: skip


def test_a_transfer_has_a_row_of_its_own(study: Study) -> None:
    one = task().model_copy(update={"start": Start(task="ab" * 8, dataset="big")})
    of = result(one).model_copy(update={"usage": Usage(seconds=1, cpu_s=1, cpus=1, memory_gb=1)})
    of.write(study.result_path(one.id))
    ended(study, 1)
    assert {row["dataset"] for row in Efficiency.of(study).rows} == {"toy", "toy<-big"}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("usage",), None),
        (("usage", "cpu_s"), -1.0),
        (("usage", "memory_gb"), 1e13),
        (("timing", "total_s"), "long"),
        (("provenance", "pack"), 0),
        (("task",), []),
    ],
)
def test_what_tells_nothing_is_counted_and_left_out(study: Study, place: tuple[str, ...], value: object) -> None:
    """An earlier version's result, or numbers that cannot be."""
    path = ended(study, 0)
    ended(study, 1)
    document = orjson.loads(path.read_bytes())
    part = document
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    path.write_bytes(orjson.dumps(document))
    found = Efficiency.of(study)
    assert found.silent == 1 and [row["tasks"] for row in found.rows] == [1]
