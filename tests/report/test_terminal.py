import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from toolkit.analysis.table import with_interval
from toolkit.render.cells import cell
from toolkit.render.terminal import console, show


def test_a_table_too_wide_for_the_terminal_keeps_its_numbers_whole(capsys):
    statistics = {
        f"s{i}{part}": [value] for i in range(6) for part, value in {"": -0.15, "_low": -0.62, "_high": 0.94}.items()
    }
    show(console(), "pairs", pl.DataFrame(statistics), tuple(f"s{i}" for i in range(6)), digits=2)
    assert capsys.readouterr().out.count("-0.15 [-0.62, 0.94]") == 6


def test_long_text_is_folded_where_there_is_room_for_the_rest(capsys):
    show(console(), "notes", pl.DataFrame({"value": [1.5], "note": ["so many words " * 12]}))
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_an_estimate_has_as_many_decimals_as_its_interval():
    assert cell({"a": 0.0062, "a_low": 0.0051, "a_high": 0.0081}, "a", 2) == "0.006 [0.005, 0.008]"
    assert cell({"a": 0.5, "a_low": 0.4, "a_high": 0.6}, "a", 2) == "0.50 [0.40, 0.60]"


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3, unique=True).map(sorted), st.integers(0, 3))
def test_an_estimate_is_printed_within_its_interval(three, digits):
    low, estimate, high = three
    told, ends = with_interval(estimate, low, high, digits).split(" ", 1)
    first, last = map(float, ends.strip("[]").split(", "))
    assert first <= float(told) <= last
    assert first < last or high - low < 1e-14
