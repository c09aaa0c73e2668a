import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.cluster.array import split
from toolkit.errors import UsageError
from toolkit.launching.tasks import make_elements
from toolkit.study import Recipe, Task
from toolkit.study.ranges import format_ranges, parse_ranges

indices = st.sets(st.integers(0, 10_000), min_size=1, max_size=60)


@given(indices)
@settings(max_examples=50)
def test_ranges_come_back_as_they_went_out(wanted: set[int]) -> None:
    assert parse_ranges(format_ranges(wanted), "--array") == sorted(wanted)


def test_ranges_keep_their_order_and_take_an_index_once() -> None:
    assert parse_ranges("12, 0-3,2", "--array") == [12, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "no index"), ("a", "no index"), ("5-2", "backwards"), ("0-500", "the last one is 499"), ("-1", "no index")],
)
def test_bad_ranges_are_named(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_ranges(text, "--array", 500)


def task(number: int, dataset: str, seed: int) -> Task:
    return Task(architecture=f"anynetx-500/{number}", dataset=dataset, dataset_hash=dataset, recipe=Recipe(), seed=seed)


@given(st.lists(st.tuples(st.integers(0, 99), st.sampled_from("ab"), st.integers(0, 1))), st.integers(1, 9))
@settings(max_examples=50)
def test_elements_hold_every_task_once_and_share_a_loader(cells: list[tuple[int, str, int]], per_job: int) -> None:
    tasks = {t.id: t for t in (task(*cell) for cell in cells)}
    elements = make_elements(tasks, per_job)
    assert sorted(i for element in elements for i in element) == sorted(tasks)
    assert all(1 <= len(element) <= per_job for element in elements)
    assert all(len({(tasks[i].dataset, tasks[i].seed) for i in element}) == 1 for element in elements)


def test_an_element_holds_a_whole_pack() -> None:
    tasks = {t.id: t for t in (task(i, "a", 0) for i in range(8))}
    assert [len(element) for element in make_elements(tasks, pack=4)] == [4, 4]
    assert [len(element) for element in make_elements(tasks, per_job=1, pack=4)] == [4, 4]
    assert [len(element) for element in make_elements(tasks)] == [1] * 8


def test_an_element_that_sizes_its_packs_holds_what_they_are_made_of() -> None:
    tasks = {t.id: t for t in (task(i, "a", 0) for i in range(20))}
    assert [len(element) for element in make_elements(tasks, pack=0)] == [8, 8, 4]
    assert [len(element) for element in make_elements(tasks, per_job=10, pack=0)] == [10, 10]


@given(st.integers(1, 3000), st.integers(1, 1001), st.integers(1, 300))
@settings(max_examples=80)
def test_parts_cover_all_elements_and_share_the_throttle(count: int, size: int, throttle: int) -> None:
    elements = [(str(i),) for i in range(count)]
    parts = split(elements, size, throttle)
    assert [e for part in parts for e in part.elements] == elements
    assert all(1 <= len(part.elements) <= size for part in parts)
    assert all(part.after is None or part.after < i for i, part in enumerate(parts))
    chains = {part.after for part in parts if part.after is not None}
    assert len(chains) == sum(part.after is not None for part in parts)  # a part has one successor at most
    assert sum(part.throttle for part in parts if part.after is None) == throttle or len(parts) == 1
    assert all(part.throttle <= parts[part.after].throttle for part in parts if part.after is not None)
