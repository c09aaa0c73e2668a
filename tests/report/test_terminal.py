import polars as pl

from toolkit.render.terminal import console, show


def test_a_table_too_wide_for_the_terminal_keeps_its_numbers_whole(capsys):
    interval = "-0.15 [-0.62, 0.94]"
    show(console(), "pairs", pl.DataFrame({f"statistic {i}": [interval] for i in range(6)}))
    assert capsys.readouterr().out.count(interval) == 6


def test_long_text_is_folded_where_there_is_room_for_the_rest(capsys):
    show(console(), "notes", pl.DataFrame({"value": ["1.00 [0.50, 1.00]"], "note": ["so many words " * 12]}))
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100
