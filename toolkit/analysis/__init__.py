"""From measurements to tables: pure functions over polars frames. What draws them is toolkit/render."""
