"""Tables of ratios and lines."""

from pathlib import Path

from toolkit.analysis.document import analyse
from toolkit.analysis.settings import Settings
from toolkit.analysis.sources import load
from toolkit.analysis.table_source import Reading


def test_errors_without_a_unit_are_called_errors_and_the_best_is_first(tmp_path: Path) -> None:
    """No accuracy follows from a loss: its ratios stood under "Accuracy relative to", the worst net first."""
    rows = "".join(f"n{i},{1 + i / 2},{1 + i / 3 + i % 2}\n" for i in range(6))
    (tmp_path / "losses.csv").write_text("model,imagenet,pets\n" + rows)
    data = load([str(tmp_path / "losses.csv")], Reading("error", "none"))[0]
    table = analyse(data, Settings(resamples=100)).tables["improvement"]
    assert table.title.startswith("Error relative to")
    assert table.frame["architecture"].to_list() == [f"n{i}" for i in range(6)]
