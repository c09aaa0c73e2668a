"""What a report needs most is submitted first."""

from toolkit.launching.priorities import by_need
from toolkit.study.declared import Label
from toolkit.study.states import TaskState

LABELS = {name: Label("n/0", column, 0, "") for name, column in (("a", "first"), ("b", "other"), ("c", "other"))}


def test_the_reference_comes_first_even_where_it_is_most_complete() -> None:
    columns = {"1": "other", "2": "first", "3": "third"}
    assert by_need(columns, LABELS, {"a": TaskState("done")}) == ["2", "1", "3"]
    assert by_need(columns | {"4": "imagenet"}, LABELS, {"a": TaskState("done")}) == ["4", "1", "3", "2"]


def test_divergence_counts_as_done_and_failure_does_not() -> None:
    columns = {"1": "other", "2": "third", "3": "first"}
    assert by_need(columns, LABELS, {"b": TaskState("failed"), "c": TaskState("diverged")}) == ["3", "2", "1"]
    assert by_need(columns, LABELS, {"b": TaskState("failed"), "c": TaskState("lost")}) == ["3", "1", "2"]
    assert by_need({}, LABELS, {}) == by_need({}, {}, {}) == []
